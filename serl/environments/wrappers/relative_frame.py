"""Acts and observes in the frame of the tool."""

from collections.abc import Sequence

import dm_env
from dm_env import specs
import numpy as np
from scipy.spatial import transform

from serl import types
from serl.environments.wrappers import base

_POSE, _VELOCITY = 'tcp_pose', 'tcp_vel'


def adjoint(pose: Sequence[float], lever: bool = True) -> np.ndarray:
  """Returns what takes motions from a frame to the one that it is seen from.

  Args:
    pose: [7], xyz and quaternion xyzw: the frame, seen from the other one.
    lever: whether translation adds to rotation by the frame's distance, as in
      the adjoint that SERL uses; else both are only turned.

  Returns:
    [6, 6], for motions with the translation first.
  """
  turn = transform.Rotation.from_quat(pose[3:]).as_matrix()
  matrix = np.zeros((6, 6))
  matrix[:3, :3] = matrix[3:, 3:] = turn
  if lever:
    x, y, z = pose[:3]
    across = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    matrix[3:, :3] = across @ turn
  return matrix


class RelativeFrame(base.EnvironmentWrapper):
  """Moves and velocities along the tool's axes, poses since the episode began.

  What is learned so does not depend on where in the room the task stands. Luo
  et al. 2024, SERL, arXiv 2401.16013, section IV-E.

  - An action's first six, the motion, are taken from the tool's frame, as it is
    at the moment, to the base frame.
  - 'tcp_vel' [6] is taken the other way.
  - 'tcp_pose' [7] is seen from the tool's pose at the episode's first
    observation.

  Both saturate at their bounds, which are those of the widest axis for all
  three: a tool that is turned between the axes can be farther away along its
  own.
  """

  def __init__(self, environment: dm_env.Environment, lever: bool = True):
    """Wraps `environment`.

    Args:
      environment: observes 'tcp_pose' [7], xyz in m and quaternion xyzw, and
        'tcp_vel' [6], both in the base frame; its actions begin with
        translation and rotation along and about the base frame's axes.
      lever: see `adjoint`. With it, what SERL recorded and trained fits;
        without, a pure translation of the tool is a pure translation.

    Raises:
      ValueError: it does not observe these or acts otherwise.
    """
    super().__init__(environment)
    base.demand_single_actions(environment)
    leaves = base.named_specs(environment)
    for name, size in ((_POSE, 7), (_VELOCITY, 6)):
      if name not in leaves or leaves[name].shape != (size,):
        raise ValueError(
          f'The observation {name!r} is {leaves.get(name)}; expected [{size}] '
          f'among {sorted(leaves)}.'
        )
    shape = environment.action_spec().shape
    if len(shape) != 1 or shape[0] < 6:
      raise ValueError(
        f'The actions have shape {shape}; expected [A] that begins with a '
        'translation and a rotation.'
      )
    self._lever = lever
    self._spec = {
      **leaves,
      _POSE: _relative_pose_spec(leaves[_POSE]),
      _VELOCITY: _tool_velocity_spec(leaves, lever),
    }
    self._adjoint = np.eye(6)
    self._inverse = np.eye(6)
    self._origin = (np.zeros(3), transform.Rotation.identity())

  def observation_spec(self) -> types.NestedSpec:
    return dict(self._spec)

  def reset(self) -> dm_env.TimeStep:
    return self._observed(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    moved = _with_motion(action, self._adjoint)
    return self._observed(self._environment.step(moved))

  def to_tool_frame(self, action: np.ndarray) -> np.ndarray:
    """Returns an action in the base frame as one that means the same here."""
    return _with_motion(action, self._inverse)

  def _observed(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    observation = timestep.observation
    pose = np.asarray(observation[_POSE], float)
    turn = transform.Rotation.from_quat(pose[3:])
    if timestep.first():
      self._origin = pose[:3], turn.inv()
    self._adjoint = adjoint(pose, self._lever)
    self._inverse = np.linalg.inv(self._adjoint)
    position, unturn = self._origin
    relative = np.concatenate(
      (unturn.apply(pose[:3] - position), (unturn * turn).as_quat())
    )
    velocity = self._inverse @ observation[_VELOCITY]
    return timestep._replace(
      observation={
        **observation,
        _POSE: _saturate(relative, self._spec[_POSE]),
        _VELOCITY: _saturate(velocity, self._spec[_VELOCITY]),
      }
    )


def _with_motion(action: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Returns a copy of `action` with its first six multiplied by `matrix`."""
  action = np.array(action)  # a policy's may be read only
  action[:6] = matrix @ action[:6]
  return action


def _saturate(values: np.ndarray, leaf: specs.Array) -> np.ndarray:
  """Returns `values` as the spec has them, cut to its bounds if it has some."""
  values = values.astype(leaf.dtype)
  if not isinstance(leaf, specs.BoundedArray):
    return values
  return np.clip(values, leaf.minimum, leaf.maximum)


def _relative_pose_spec(leaf: specs.Array) -> specs.Array:
  """Returns the extent of the widest axis as the bound of all three."""
  if not isinstance(leaf, specs.BoundedArray):
    return leaf
  extents = np.subtract(leaf.maximum, leaf.minimum)
  extent = np.broadcast_to(extents, leaf.shape)[:3].max()
  bound = np.append(np.full(3, extent), np.ones(4)).astype(leaf.dtype)
  return leaf.replace(minimum=-bound, maximum=bound)


def _tool_velocity_spec(
  leaves: dict[str, specs.Array], lever: bool
) -> specs.Array:
  velocity, pose = leaves[_VELOCITY], leaves[_POSE]
  if not isinstance(velocity, specs.BoundedArray):
    return velocity
  largest = np.maximum(np.abs(velocity.minimum), np.abs(velocity.maximum))
  largest = np.broadcast_to(largest, (6,)).astype(float)
  linear, angular = largest[:3].max(), largest[3:].max()
  if lever and isinstance(pose, specs.BoundedArray):
    corner = np.maximum(np.abs(pose.minimum), np.abs(pose.maximum))
    corner = np.broadcast_to(corner, (7,))
    angular += np.linalg.norm(corner[:3]) * linear
  bound = np.repeat((linear, angular), 3).astype(velocity.dtype)
  return velocity.replace(minimum=-bound, maximum=bound)
