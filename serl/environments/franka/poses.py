"""Poses as the tasks on the real arm calculate with them.

A pose is [7], xyz in metres and quaternion xyzw; a Euler pose is [6], xyz and
extrinsic angles 'xyz' in radians; both of the tool in the arm's base frame.
"""

from collections.abc import Sequence
import math

import numpy as np
from scipy.spatial import transform


def from_euler(pose: Sequence[float]) -> np.ndarray:
  """Returns the pose, [7], of a Euler pose, [6]."""
  quaternion = transform.Rotation.from_euler('xyz', pose[3:]).as_quat()
  return np.concatenate((pose[:3], quaternion))


def to_euler(pose: Sequence[float]) -> np.ndarray:
  """Returns the Euler pose, [6], of a pose, [7]."""
  angles = transform.Rotation.from_quat(pose[3:]).as_euler('xyz')
  return np.concatenate((pose[:3], angles))


def moved(
  pose: np.ndarray, translation: np.ndarray, rotation: np.ndarray
) -> np.ndarray:
  """Returns a pose after a motion along and about the axes of the base.

  Args:
    pose: [7].
    translation: [3], m.
    rotation: [3], Euler angles, composed in front of the orientation.
  """
  turned = transform.Rotation.from_euler('xyz', rotation) * (
    transform.Rotation.from_quat(pose[3:])
  )
  return np.concatenate((pose[:3] + translation, turned.as_quat()))


def clipped(
  pose: np.ndarray, low: Sequence[float], high: Sequence[float]
) -> np.ndarray:
  """Returns the pose, [7], within a box of Euler poses.

  Args:
    pose: [7].
    low: [6], the lower corner; of the first angle, which jumps between pi and
      -pi where the tool points down, the absolute value is limited. The second
      angle is within a quarter turn.
    high: [6], the upper corner.
  """
  euler = to_euler(pose)
  # The other angles of the same orientation may be nearer to the box.
  other = np.copy(euler)
  other[3:] = euler[3] + math.pi, math.pi - euler[4], euler[5] + math.pi
  clips = np.array([_clip(each, low, high) for each in (euler, other)])
  turned = transform.Rotation.from_euler('xyz', clips[:, 3:])
  away = (turned * transform.Rotation.from_quat(pose[3:]).inv()).magnitude()
  nearest = away.argmin()
  return np.concatenate((clips[nearest, :3], turned[nearest].as_quat()))


def stopped_at(
  start: np.ndarray,
  end: np.ndarray,
  low: Sequence[float],
  high: Sequence[float],
) -> np.ndarray:
  """Returns how far the straight way from `start` may go, [3], m.

  That is up to `end`, or to where the way enters a box; one that touches it
  does not enter. A start within the box counts as on the face that is nearest,
  so that all ways lead out of it.

  Args:
    start: [3], m.
    end: [3], m.
    low: [3], the box's lower corner, m.
    high: [3], its upper corner, m.
  """
  faces = np.array((low, high), float)
  depths = np.array((start - faces[0], faces[1] - start))
  if depths.min() > 0:
    side, axis = np.unravel_index(depths.argmin(), depths.shape)
    start = np.where(np.arange(3) == axis, faces[side], start)
  way = end - start
  if ((way == 0) & ((start <= faces[0]) | (start >= faces[1]))).any():
    return end
  # At which shares of the way it passes the two faces of each axis; along an
  # axis that it does not move on, it is between them throughout.
  shares = np.divide(
    faces - start,
    way,
    out=np.repeat(((-np.inf,), (np.inf,)), 3, axis=1),
    where=way != 0,
  )
  enters, leaves = shares.min(axis=0).max(), shares.max(axis=0).min()
  if 0 <= enters < min(leaves, 1.0):
    return start + enters * way
  return end


def is_near(
  pose: np.ndarray,
  target: Sequence[float],
  threshold: Sequence[float],
  absolute_angles: bool = False,
) -> bool:
  """Returns whether a pose is at the target in each of the six.

  Args:
    pose: [7].
    target: [6], a Euler pose.
    threshold: [6], the distances that are too far: along the base's x, y and z,
      m, and about them, rad. The rotation from the target to the pose is
      compared, as a rotation vector.
    absolute_angles: compare the absolute values of the Euler angles instead, as
      SERL does: a tool that is turned to the other side passes too.
  """
  target = np.asarray(target, float)
  if absolute_angles:
    turn = np.abs(to_euler(pose)[3:]) - np.abs(target[3:])
  else:
    aimed = transform.Rotation.from_euler('xyz', target[3:])
    turn = (transform.Rotation.from_quat(pose[3:]) * aimed.inv()).as_rotvec()
  error = np.concatenate((pose[:3] - target[:3], turn))
  return bool((np.abs(error) < threshold).all())


def _clip(
  euler: np.ndarray, low: Sequence[float], high: Sequence[float]
) -> np.ndarray:
  """Returns the Euler pose, [6], within the box, see `clipped`."""
  euler = np.copy(euler)
  # The yaw is the one that is nearest to the box.
  middle = (low[5] + high[5]) / 2
  euler[5] = middle + math.remainder(euler[5] - middle, 2 * math.pi)
  roll = math.remainder(euler[3], 2 * math.pi)
  euler[3] = abs(roll)
  euler = np.clip(euler, low, high)
  # Not by the sign of the roll, which is 0 for a roll of 0.
  euler[3] = math.copysign(euler[3], roll)
  return euler


def path(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
  """Returns poses on the straight way, [steps, 7], of which the last is `end`.

  Args:
    start: [7], which is not among them.
    end: [7].
    steps: how many.
  """
  shares = np.arange(1, steps + 1) / steps
  ends = transform.Rotation.from_quat([start[3:], end[3:]])
  turns = transform.Slerp([0.0, 1.0], ends)(shares)
  positions = start[:3] + shares[:, None] * (end[:3] - start[:3])
  way = np.concatenate((positions, turns.as_quat()), axis=1)
  way[-1] = end  # without rounding
  return way
