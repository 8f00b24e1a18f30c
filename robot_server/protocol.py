"""What the server asks of an arm: its state, its commands, its errors.

A driver is one arm with its gripper: the real one behind ROS, or a simulated
one. Every length is in metres, every angle in radians, every position in the
arm's base frame and every quaternion is xyzw, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np

# What the arm is doing, as Franka numbers it in `robot_mode`.
MODES = (
  'other',
  'idle',
  'moving',
  'guiding',
  'reflex',
  'user_stopped',
  'recovering',
)

# The modes that last until the arm's errors are cleared: after a user's stop it
# is idle, whatever controller is started.
STOPPED = ('reflex', 'idle')

# The header with the time at which a client sent a request, s on the driver's
# clock, which /health answers: what the network delivers late is refused.
SENT = 'X-Sent'
# The header with a client's name, one for each process that leads an arm.
CLIENT = 'X-Client'

# The gripper's commands, from open to closed.
GRIPPER_RANGE = (0, 255)


class Range(NamedTuple):
  """What a parameter may be, and what it is when nobody sets it."""

  low: float
  high: float
  default: float


def _clips(kind: str, default: float) -> dict[str, Range]:
  return {
    f'{kind}_clip_{side}{axis}': Range(0.0, 0.1, default)
    for side in ('', 'neg_')
    for axis in 'xyz'
  }


# The parameters of the impedance law and the ranges that the controller of the
# real arm takes. `neg_` is the clip on the negative side of an axis.
COMPLIANCE: dict[str, Range] = {
  'translational_stiffness': Range(0.0, 6000.0, 2000.0),  # N/m
  'translational_damping': Range(0.0, 400.0, 89.0),  # N s/m
  'rotational_stiffness': Range(0.0, 300.0, 150.0),  # N m
  'rotational_damping': Range(0.0, 30.0, 7.0),  # N m s/rad
  'translational_Ki': Range(0.0, 100.0, 0.0),
  'rotational_Ki': Range(0.0, 100.0, 0.0),
  'nullspace_stiffness': Range(0.0, 100.0, 0.2),  # N m/rad
  'joint1_nullspace_stiffness': Range(0.0, 100.0, 100.0),
  # Of the position's error, m, and of the vector part of the rotation's.
  **_clips('translational', 0.01),
  **_clips('rotational', 0.05),
}


class Reading(NamedTuple):
  """What it takes to hold an arm; see `State`."""

  pose: np.ndarray  # [7]
  force: np.ndarray  # [3]
  torque: np.ndarray  # [3]
  time: float
  mode: str
  faults: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class State:
  """One reading of the arm. The arrays are float64 and nobody writes to them.

  `q` and `dq` are Franka's names of the joints' angles and their speeds.
  """

  pose: np.ndarray  # [7], xyz and quaternion of the tool
  vel: np.ndarray  # [6], linear m/s, angular rad/s
  force: np.ndarray  # [3], N, external, stiffness frame
  torque: np.ndarray  # [3], N m, external, stiffness frame
  q: np.ndarray  # [7], rad
  dq: np.ndarray  # [7], rad/s
  jacobian: np.ndarray  # [6, 7], of the tool: vel = jacobian @ dq
  # In the gripper's own unit: 0 (open) to 255 of a Robotiq, metres of width of
  # Franka's hand, 0 without a gripper.
  gripper_pos: float
  time: float  # when it was measured, s, on the clock of the driver's `now`
  mode: str = 'moving'  # one of MODES
  faults: tuple[str, ...] = ()  # the names of the errors that hold the arm

  def reading(self) -> Reading:
    """Returns the part of it that a hold takes."""
    return Reading(
      self.pose, self.force, self.torque, self.time, self.mode, self.faults
    )

  def to_json(self) -> dict[str, Any]:
    """Returns the answer to SERL's `getstate`: its names, as plain lists."""
    return {
      'pose': self.pose.tolist(),
      'vel': self.vel.tolist(),
      'force': self.force.tolist(),
      'torque': self.torque.tolist(),
      'q': self.q.tolist(),
      'dq': self.dq.tolist(),
      'jacobian': self.jacobian.tolist(),
      'gripper_pos': float(self.gripper_pos),
    }


class DriverError(RuntimeError):
  """The arm cannot do what it was asked; `kind` says why to a program."""

  kind = 'driver'


class NoStateError(DriverError):
  """Nothing, or not yet everything that a state consists of, has arrived."""

  kind = 'no_state'


class StaleStateError(DriverError):
  """The last state is too old to act on: the arm or its computer is silent."""

  kind = 'stale_state'


class BadStateError(DriverError):
  """The state is none that an arm can have: zeros, NaN, an impossible pose."""

  kind = 'bad_state'


class ControllerError(DriverError):
  """The impedance controller is not running, or does not answer."""

  kind = 'controller'


class ReflexError(DriverError):
  """The arm stopped itself, on contact or speed; `clear_errors` frees it."""

  kind = 'reflex'


class UserStopError(DriverError):
  """A person holds the stop; only that person frees the arm."""

  kind = 'user_stop'


class JointResetError(DriverError):
  """The joints did not reach their target in time."""

  kind = 'joint_reset'


class GripperError(DriverError):
  """The gripper does not answer or there is none."""

  kind = 'gripper'


class Gripper(Protocol):
  """A gripper. Commands return at once; the fingers take their time."""

  def activate(self) -> None:
    """Makes it ready to move."""

  def reset(self) -> None:
    """Clears its faults, after which it has to be activated; waits for that."""

  def open(self) -> None:
    """Opens it all the way."""

  def close(self) -> None:
    """Closes it, on what stands between its fingers."""

  def move(self, position: int) -> None:
    """Moves the fingers to `position`, from 0 (open) to 255 (closed)."""


class Driver(Protocol):
  """One arm and its gripper.

  Its methods may be called from several threads. Any of them may raise a
  DriverError; those that command also when the arm is not able to obey.
  """

  gripper: Gripper

  def now(self) -> float:
    """Returns the time on the clock that stamps the states, s.

    It never goes back. A simulated arm may have a clock of its own.
    """

  def read_state(self) -> State:
    """Returns the newest state; an arm in a reflex still has one.

    Raises:
      NoStateError: not everything that a state consists of has arrived.
      StaleStateError: the newest one is too old to act on.
    """

  def read_arm(self) -> Reading:
    """Returns the newest reading of the arm alone.

    It needs neither the gripper nor the Jacobian: an arm can be held without.

    Raises:
      NoStateError, StaleStateError: as `read_state`.
    """

  def command_pose(self, pose: Sequence[float]) -> None:
    """Sends the pose that the impedance law pulls the tool to.

    Args:
      pose: [7], xyz and a unit quaternion.
    """

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    """Changes some parameters of the law; the others stay as they are.

    Args:
      parameters: by the names of COMPLIANCE and within its ranges.
    """

  def start_impedance(self) -> None:
    """Starts the impedance controller; returns when it runs.

    A controller that runs already stays as it is. The tool is held where it
    is until the first command.
    """

  def stop_impedance(self) -> None:
    """Stops the controller that runs, a joint reset's too; returns then."""

  def reset_joints(self) -> None:
    """Moves the joints to the driver's reset target; returns when there.

    The impedance controller runs afterwards, also if it did not before.

    Raises:
      JointResetError: they did not get there in time.
    """

  def clear_errors(self) -> None:
    """Recovers from a reflex; returns at once, the arm takes a moment."""

  def close(self) -> None:
    """Ends all that the driver started."""
