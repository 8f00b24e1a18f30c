"""Whether a state can be that of an arm; one that cannot is not acted on.

During a recovery, and from a driver that is broken, come states of zeros, of
NaN and of numbers that no arm has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_server import protocol

# Far beyond what an arm does: what is larger is no measurement.
_BOUNDS = {
  'vel': 1e4,  # m/s, rad/s
  'force': 1e4,  # N
  'torque': 1e4,  # N m
  'q': 10.0,  # rad
  'dq': 1e4,  # rad/s
  'jacobian': 1e4,
}
_REACH = 3.0  # m, of a tool from the arm's base
_NORM_TOLERANCE = 0.01  # of a quaternion, and of a rotation's axes


def check_reading(reading: protocol.Reading) -> None:
  """Checks the part of a state that a hold takes.

  Raises:
    BadStateError: no arm can have it.
  """
  _check_pose(reading.pose)
  _check_bounds(reading, 'force', 'torque')
  _demand(np.isfinite(reading.time), 'time', reading.time, 'seconds')
  _demand(
    reading.mode in protocol.MODES, 'mode', reading.mode, str(protocol.MODES)
  )


def check_state(state: protocol.State) -> None:
  """Checks a whole state.

  Raises:
    BadStateError: no arm can have it.
  """
  check_reading(state.reading())
  _check_bounds(state, 'vel', 'q', 'dq', 'jacobian')
  _demand(
    np.any(state.jacobian), 'jacobian', '0 everywhere', 'that of some joints'
  )
  _demand(
    np.isfinite(state.gripper_pos),
    'gripper_pos',
    state.gripper_pos,
    'a finite number',
  )


def check_transform(matrix: np.ndarray) -> None:
  """Checks a homogeneous transformation.

  Args:
    matrix: [4, 4], of the tool in the base frame, m.

  Raises:
    BadStateError: it is none of a rigid body.
  """
  expected = 'a rotation and a position'
  _demand(np.all(np.isfinite(matrix)), 'pose', matrix.tolist(), expected)
  # Squares of larger numbers than these would overflow.
  small = np.all(np.abs(matrix) < 1e6)
  rotation = matrix[:3, :3]
  _demand(
    small
    and np.allclose(matrix[3], (0, 0, 0, 1), atol=_NORM_TOLERANCE)
    and np.allclose(rotation.T @ rotation, np.eye(3), atol=_NORM_TOLERANCE)
    and np.linalg.det(rotation) > 0,
    'pose',
    matrix.tolist(),
    expected,
  )


def _check_pose(pose: np.ndarray) -> None:
  _demand(
    np.shape(pose) == (7,) and np.all(np.isfinite(pose)),
    'pose',
    np.asarray(pose).tolist(),
    '7 finite numbers',
  )
  _demand(
    np.max(np.abs(pose[:3])) <= _REACH,
    'pose',
    pose.tolist(),
    f'a position within {_REACH:g} m of the base',
  )
  _demand(
    np.max(np.abs(pose[3:])) < 2
    and abs(np.linalg.norm(pose[3:]) - 1) <= _NORM_TOLERANCE,
    'pose',
    pose.tolist(),
    'a quaternion of norm 1',
  )


def _check_bounds(state: Any, *names: str) -> None:
  for name in names:
    value, bound = getattr(state, name), _BOUNDS[name]
    _demand(
      # Not so of NaN.
      bool(np.all(np.abs(value) <= bound)),
      name,
      np.asarray(value).tolist(),
      f'finite numbers up to {bound:g}',
    )


def _demand(met: Any, name: str, value: Any, expected: str) -> None:
  if not met:
    raise protocol.BadStateError(
      f'the arm reports {name} {value}, which is not finite or impossible; '
      f'expected {expected}. A recovery passes; else its driver is broken'
    )
