"""Images whose channels come first, with their channels last."""

import dm_env
from dm_env import specs as dm_specs
import numpy as np

from serl import specs
from serl import types
from serl.environments.wrappers import base


class ChannelsLast(base.ObservationWrapper):
  """Observes images [..., C, H, W] as [..., H, W, C].

  An image has its channels first where they are fewer than its rows and its
  columns. Other arrays stay as they are.
  """

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`.

    Raises:
      ValueError: it observes no image with its channels first.
    """
    super().__init__(environment)
    leaves = specs.flatten(environment.observation_spec())
    self._paths = {
      path for path, leaf in leaves.items() if specs.has_channels_first(leaf)
    }
    if not self._paths:
      shapes = {path or 'value': leaf.shape for path, leaf in leaves.items()}
      raise ValueError(
        f'The observations have the shapes {shapes}; expected an image '
        '[..., C, H, W].'
      )

  def observation_spec(self) -> types.NestedSpec:
    return self._map(_moved_spec, self._environment.observation_spec())

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    return self._map(_moved, observation)

  def _map(self, function, nested):
    leaves = specs.flatten(nested)
    return specs.unflatten(
      {p: function(x) if p in self._paths else x for p, x in leaves.items()}
    )


def _moved(image: np.ndarray) -> np.ndarray:
  return np.moveaxis(np.asarray(image), -3, -1)


def _moved_spec(leaf: dm_specs.Array) -> dm_specs.Array:
  shape = _moved(np.broadcast_to(0, leaf.shape)).shape
  if not isinstance(leaf, dm_specs.BoundedArray):
    return leaf.replace(shape=shape)
  minimum, maximum = (
    bound if np.ndim(bound) == 0 else _moved(np.broadcast_to(bound, leaf.shape))
    for bound in (leaf.minimum, leaf.maximum)
  )
  return leaf.replace(shape=shape, minimum=minimum, maximum=maximum)
