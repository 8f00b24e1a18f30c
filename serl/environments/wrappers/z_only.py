"""The tool's height, without where it is otherwise."""

import dm_env
import numpy as np

from serl import specs
from serl import types
from serl.environments.wrappers import base

_Z = 2  # in [x, y, z, ...]


class ZOnly(base.ObservationWrapper):
  """Observes of the tool's position, or pose, the height alone, [1] m.

  A policy that does not know where it is in the plane must look for it in the
  images, and works where the target has been moved to. Luo et al. 2024, SERL,
  arXiv 2401.16013, trains cable routing and relocation so.
  """

  def __init__(self, environment: dm_env.Environment, name: str = 'tcp_pose'):
    """Wraps `environment`.

    Args:
      environment: observes a mapping of named arrays.
      name: of the array [x, y, z, ...], m.

    Raises:
      ValueError: there is no such array.
    """
    super().__init__(environment)
    leaves = base.named_specs(environment)
    leaf = leaves.get(name)
    if leaf is None or len(leaf.shape) != 1 or leaf.shape[0] <= _Z:
      raise ValueError(
        f'The observation {name!r} is {leaf}; expected an array [x, y, z, ...] '
        f'among {sorted(leaves)}.'
      )
    self._name = name
    self._spec = {**leaves, name: _height(leaf)}

  def observation_spec(self) -> types.NestedSpec:
    return dict(self._spec)

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    height = np.array(observation[self._name][_Z : _Z + 1])
    return {**observation, self._name: height}


def _height(leaf: specs.Array) -> specs.Array:
  if not isinstance(leaf, specs.BoundedArray):
    return leaf.replace(shape=(1,))
  minimum, maximum = (
    np.broadcast_to(bound, leaf.shape)[_Z : _Z + 1]
    for bound in (leaf.minimum, leaf.maximum)
  )
  return leaf.replace(shape=(1,), minimum=minimum, maximum=maximum)
