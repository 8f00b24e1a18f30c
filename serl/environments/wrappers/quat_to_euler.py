"""Orientations as Euler angles."""

import dm_env
from dm_env import specs
import numpy as np
from scipy.spatial import transform

from serl import types
from serl.environments.wrappers import base


class QuatToEuler(base.ObservationWrapper):
  """Observes a pose [7], with a quaternion xyzw, as [6].

  The angles are extrinsic, 'xyz', in rad. They jump where the tool points
  straight away from the frame's z: use it inside of a relative frame.
  """

  def __init__(self, environment: dm_env.Environment, name: str = 'tcp_pose'):
    """Wraps `environment`.

    Args:
      environment: observes a mapping of named arrays.
      name: of the pose.

    Raises:
      ValueError: there is no such pose.
    """
    super().__init__(environment)
    leaves = base.named_specs(environment)
    leaf = leaves.get(name)
    if leaf is None or leaf.shape != (7,):
      raise ValueError(
        f'The observation {name!r} is {leaf}; expected a pose [7] among '
        f'{sorted(leaves)}.'
      )
    self._name = name
    self._dtype = leaf.dtype
    self._spec = {**leaves, name: _angled(leaf)}

  def observation_spec(self) -> types.NestedSpec:
    return dict(self._spec)

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    pose = observation[self._name]
    angles = transform.Rotation.from_quat(pose[3:]).as_euler('xyz')
    euler = np.concatenate((pose[:3], angles)).astype(self._dtype)
    return {**observation, self._name: euler}


def _angled(leaf: specs.Array) -> specs.Array:
  if not isinstance(leaf, specs.BoundedArray):
    return leaf.replace(shape=(6,))
  minimum, maximum = (
    np.broadcast_to(bound, leaf.shape)[:3]
    for bound in (leaf.minimum, leaf.maximum)
  )
  # Of angles 'xyz' the second is within a quarter turn. Rounded up, for
  # float32's pi is larger.
  turns = np.nextafter(np.array((np.pi, np.pi / 2, np.pi), leaf.dtype), np.inf)
  return leaf.replace(
    shape=(6,),
    minimum=np.concatenate((minimum, -turns)).astype(leaf.dtype),
    maximum=np.concatenate((maximum, turns)).astype(leaf.dtype),
  )
