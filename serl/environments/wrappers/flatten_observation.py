"""All numbers of an observation in one array."""

import math

import dm_env
import numpy as np

from serl import specs
from serl import types
from serl.environments.wrappers import base

STATE = 'state'


class FlattenObservation(base.ObservationWrapper):
  """Observes one float32 array 'state' [S], and the images beside it.

  The arrays follow in it in the order of their sorted paths. Images keep the
  last part of theirs as a name: 'images/front' becomes 'front'.
  """

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`.

    Raises:
      ValueError: two images would get the same name, or one the name 'state'.
    """
    super().__init__(environment)
    leaves = specs.flatten(environment.observation_spec())
    self._images: dict[str, str] = {}  # paths by names
    for path in (p for p, leaf in leaves.items() if specs.is_image(leaf)):
      name = path.split('/')[-1]
      if name == STATE or name in self._images:
        raise ValueError(
          f'The image {path!r} would be called {name!r}, as '
          f'{self._images.get(name, "all other arrays")!r} is; rename it with '
          'CameraRemap.'
        )
      self._images[name] = path
    images = set(self._images.values())
    self._numbers = [path for path in leaves if path not in images]
    self._spec = {name: leaves[path] for name, path in self._images.items()}
    if self._numbers:
      self._spec[STATE] = _concatenate([leaves[path] for path in self._numbers])

  def observation_spec(self) -> types.NestedSpec:
    return dict(self._spec)

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    arrays = specs.flatten(observation)
    flat = {name: arrays[path] for name, path in self._images.items()}
    if self._numbers:
      parts = [np.ravel(arrays[path]) for path in self._numbers]
      flat[STATE] = np.concatenate(parts).astype(np.float32, copy=False)
    return flat


def _concatenate(leaves: list[specs.Array]) -> specs.Array:
  """Returns the spec of the leaves' numbers, unbounded where they are."""
  size = sum(math.prod(leaf.shape) for leaf in leaves)
  if not any(isinstance(leaf, specs.BoundedArray) for leaf in leaves):
    return specs.Array((size,), np.float32, STATE)
  bounds = [
    np.concatenate(
      [
        np.broadcast_to(getattr(leaf, bound, unbounded), leaf.shape).ravel()
        for leaf in leaves
      ]
    ).astype(np.float32)
    for bound, unbounded in (('minimum', -np.inf), ('maximum', np.inf))
  ]
  return specs.BoundedArray((size,), np.float32, *bounds, name=STATE)
