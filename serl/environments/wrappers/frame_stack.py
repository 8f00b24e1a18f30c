"""The last few images of each camera at once."""

import collections

import dm_env
import numpy as np
import tree

from serl import specs
from serl import types
from serl.environments.wrappers import base


class FrameStack(base.ObservationWrapper):
  """Observes each image [H, W, C] as [frames, H, W, C], the newest last.

  An episode begins with repetitions of its first image. What is no image stays
  as it is.
  """

  def __init__(self, environment: dm_env.Environment, frames: int):
    """Wraps `environment`.

    Args:
      environment: observes images.
      frames: how many to stack.

    Raises:
      ValueError: the number is none, or there is no image [H, W, C].
    """
    super().__init__(environment)
    if frames < 1:
      raise ValueError(f'frames={frames}; expected at least 1.')
    inner = environment.observation_spec()
    if not any(_is_frame(leaf) for leaf in tree.flatten(inner)):
      raise ValueError(
        f'There is no image [H, W, C] of uint8 to stack in {inner}.'
      )
    self._inner = inner
    self._spec = tree.map_structure(lambda s: _stacked(s, frames), inner)
    self._history: collections.deque = collections.deque(maxlen=frames)

  def observation_spec(self) -> types.NestedSpec:
    return self._spec

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    # Environments may reuse the buffers of their images.
    self._history.append(
      tree.map_structure(
        lambda s, x: np.array(x) if _is_frame(s) else x,
        self._inner,
        observation,
      )
    )
    return tree.map_structure(
      lambda s, *xs: np.stack(xs) if _is_frame(s) else xs[-1],
      self._inner,
      *self._history,
    )

  def _observed(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    if timestep.first():
      self._history.clear()
      for _ in range(self._history.maxlen - 1):
        self.observe(timestep.observation)
    return super()._observed(timestep)


def _is_frame(leaf: specs.Array) -> bool:
  return specs.is_image(leaf) and len(leaf.shape) == 3


def _stacked(leaf: specs.Array, frames: int) -> specs.Array:
  if not _is_frame(leaf):
    return leaf
  return specs.BoundedArray(
    (frames, *leaf.shape), leaf.dtype, 0, 255, name=leaf.name
  )
