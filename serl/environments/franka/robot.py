"""What the environment asks of an arm, and an arm in the same process."""

from collections.abc import Mapping, Sequence
import contextlib
import os
import time
from typing import Protocol

from robot_server import protocol
from serl import core

_NICENESS = -10  # of a control loop; 0 is everybody's


class RobotError(core.FaultError):
  """The arm, its server or the way there failed."""


class Robot(Protocol):
  """An arm with its gripper, near or far.

  Poses are [7], xyz in m and quaternion xyzw, of the tool in the base frame.
  All methods raise RobotError when the arm cannot.
  """

  def read_state(self) -> protocol.State:
    """Returns a fresh state of an arm that can obey.

    Its `time` is on the environment's clock.
    """

  def command_pose(self, pose: Sequence[float]) -> None:
    """Sends the pose that the tool is pulled to; returns when it arrived."""

  def open_gripper(self) -> None:
    """Begins to open the gripper."""

  def close_gripper(self) -> None:
    """Begins to close the gripper."""

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    """Changes parameters of the impedance law, by the controller's names."""

  def recover(self) -> None:
    """Clears the arm's errors and has the impedance controller run.

    The arm takes a moment for it; `read_state` tells when it can obey again.
    """

  def clear_errors(self) -> None:
    """Clears the arm's errors, if it has any."""

  def reset_joints(self) -> None:
    """Moves the joints to their reset target; returns when there."""

  def close(self) -> None:
    """Lets go of the arm."""


class Clock(Protocol):
  """The time that an environment lives in."""

  def now(self) -> float:
    """Returns the time, s; it never goes back."""

  def sleep_until(self, deadline: float) -> None:
    """Returns at `deadline`, s, or at once if that has passed."""


class RealTimeClock:
  """The machine's monotonic time."""

  def now(self) -> float:
    """Returns the time, s."""
    return time.monotonic()

  def sleep_until(self, deadline: float) -> None:
    """Returns at `deadline`, s, or at once if that has passed."""
    time.sleep(max(0.0, deadline - time.monotonic()))


def take_precedence() -> bool:
  """Lets the system run this thread, a control loop, before others.

  On a machine that also learns, what is due is else late by tens of ms. Only
  root may do so, or who `ulimit -e` allows it.

  Returns:
    Whether it is allowed.
  """
  try:
    # On Linux a thread has a priority of its own; threads that it starts later
    # inherit it.
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
  except PermissionError:
    return False
  return True


class LocalRobot:
  """A `Robot` over a driver in this process, without a server between them.

  Nothing limits what it is sent: it is for simulated arms.
  """

  def __init__(self, driver: protocol.Driver):
    """Initialises the robot.

    Args:
      driver: its clock must be the environment's.
    """
    self._driver = driver

  def read_state(self) -> protocol.State:
    with _translated():
      state = self._driver.read_state()
    demand_able(state.mode, state.faults)
    return state

  def command_pose(self, pose: Sequence[float]) -> None:
    with _translated():
      self._driver.command_pose(pose)

  def open_gripper(self) -> None:
    with _translated():
      self._driver.gripper.open()

  def close_gripper(self) -> None:
    with _translated():
      self._driver.gripper.close()

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    with _translated():
      self._driver.set_compliance(parameters)

  def recover(self) -> None:
    with _translated():
      mode = self._driver.read_state().mode
      if mode in protocol.STOPPED:
        self._driver.clear_errors()
      if mode == 'idle':
        self._driver.start_impedance()

  def clear_errors(self) -> None:
    with _translated():
      self._driver.clear_errors()

  def reset_joints(self) -> None:
    with _translated():
      self._driver.reset_joints()

  def close(self) -> None:
    with _translated():
      self._driver.close()


def read_fresh(robot: Robot, clock: Clock, max_age: float) -> protocol.State:
  """Returns the arm's state.

  Args:
    robot: the arm.
    clock: on which its states are dated.
    max_age: of a state that one may act on, s.

  Raises:
    RobotError: there is none, or it is older.
  """
  state = robot.read_state()
  age = clock.now() - state.time
  if age > max_age:
    raise RobotError(
      f"The arm's last state is {age:.2f} s old; expected at most {max_age} s. "
      'Is its computer overloaded, or do the clocks run apart?'
    )
  return state


def demand_able(mode: str, faults: Sequence[str]) -> None:
  """Raises a RobotError for an arm that does not obey in this mode."""
  if mode in ('moving', 'other'):
    return
  advice = {
    'idle': 'its impedance controller does not run',
    'user_stopped': 'release the stop button',
    'guiding': 'let go of the guiding button',
    'reflex': 'it stopped itself',
    'recovering': 'it is recovering from an error',
  }[mode]
  names = f' ({", ".join(faults)})' if faults else ''
  raise RobotError(f'The arm is in the mode {mode!r}: {advice}{names}.')


@contextlib.contextmanager
def _translated():
  try:
    yield
  except protocol.DriverError as error:
    raise RobotError(f'{error.kind}: {error}') from error
