"""The grippers behind ROS, and none at all.

The messages are those of the robot's workspace, so they are imported late.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from robot_server import processes
from robot_server import protocol

KINDS = ('robotiq', 'franka', 'none')

# A gripper tells its position many times a second.
_STALE_S = 2.0
_POLL_S = 0.02
_RESET_TIMEOUT_S = 2.0
_STOP_TIMEOUT_S = 5.0
# What every command to a Robotiq says that is not a reset.
_ROBOTIQ_READY = {'rACT': 1, 'rGTO': 1, 'rSP': 255, 'rFR': 150}
# Of Franka's hand: what SERL commands, beside the width it is open at.
_HAND_OPEN_M = 0.09
_HAND_WIDTH_M = 0.08
_HAND_CLOSED_M = 0.01
_HAND_SPEED = 0.3  # m/s
_HAND_FORCE = 130.0  # N
_HAND_EPSILON = 1.0  # m: a grasp on anything counts


class _Reading(NamedTuple):
  position: float
  time: float  # s, monotonic


class NullGripper:
  """No gripper: its commands do nothing and its position is 0."""

  position = 0.0

  def activate(self) -> None:
    """Does nothing."""

  def reset(self) -> None:
    """Does nothing."""

  def open(self) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""

  def move(self, position: int) -> None:
    """Does nothing."""

  def shut_down(self) -> None:
    """Does nothing."""


class RobotiqGripper:
  """A Robotiq 2F, over the driver of robotiq_2f_gripper_control."""

  def __init__(self, ip: str):
    """Starts the gripper's driver and listens to it.

    Args:
      ip: of the gripper.

    Raises:
      GripperError: the driver cannot be started.
    """
    from robotiq_2f_gripper_control import msg
    import rospy

    self._message = msg.Robotiq2FGripper_robot_output
    # What the gripper was told last; each message says everything.
    self._output = self._message()
    self._input: Any = None
    self._input_time = 0.0
    self._publisher = rospy.Publisher(
      'Robotiq2FGripperRobotOutput', self._message, queue_size=1
    )
    rospy.Subscriber(
      'Robotiq2FGripperRobotInput',
      msg.Robotiq2FGripper_robot_input,
      self._receive,
      queue_size=1,
    )
    package, program = (
      'robotiq_2f_gripper_control',
      'Robotiq2FGripperTcpNode.py',
    )
    try:
      self._process = processes.Process(['rosrun', package, program, ip])
    except OSError as error:
      raise protocol.GripperError(
        f'cannot start the driver of the gripper: {error}; source the setup '
        'file of its workspace'
      ) from error

  @property
  def position(self) -> float:
    """Where the fingers are, 0 (open) to 255 (closed)."""
    return float(self._fresh_input().gPO)

  def activate(self) -> None:
    self._send(**_ROBOTIQ_READY)

  def reset(self) -> None:
    self._output = self._message()
    self._send(rACT=0)
    # Two commands at once would reach it as one, the activation.
    give_up = time.monotonic() + _RESET_TIMEOUT_S
    while self._fresh_input().gACT:
      if time.monotonic() > give_up:
        raise protocol.GripperError(
          f'the gripper did not reset within {_RESET_TIMEOUT_S:g} s'
        )
      time.sleep(_POLL_S)

  def open(self) -> None:
    self.move(0)

  def close(self) -> None:
    self.move(255)

  def move(self, position: int) -> None:
    # An earlier server may have activated it.
    if not self._output.rACT and not self._fresh_input().gACT:
      raise protocol.GripperError(
        'the gripper is not activated; POST /activate_gripper'
      )
    self._send(**_ROBOTIQ_READY, rPR=position)

  def shut_down(self) -> None:
    """Ends the gripper's driver."""
    self._process.stop(_STOP_TIMEOUT_S)

  def _send(self, **fields: int) -> None:
    for name, value in fields.items():
      setattr(self._output, name, value)
    self._demand_alive()
    _publish(self._publisher, self._output)

  def _receive(self, message: Any) -> None:
    self._input, self._input_time = message, time.monotonic()

  def _fresh_input(self) -> Any:
    self._demand_alive()
    _check_age('Robotiq2FGripperRobotInput', self._input, self._input_time)
    return self._input

  def _demand_alive(self) -> None:
    if not self._process.is_alive():
      raise protocol.GripperError(self._process.describe())


class FrankaGripper:
  """Franka's hand, over franka_gripper, which the arm's launch file starts."""

  def __init__(self):
    """Listens to the hand."""
    from franka_gripper import msg
    import rospy
    from sensor_msgs.msg import JointState

    self._msg = msg
    self._mover = rospy.Publisher(
      '/franka_gripper/move/goal', msg.MoveActionGoal, queue_size=1
    )
    self._grasper = rospy.Publisher(
      '/franka_gripper/grasp/goal', msg.GraspActionGoal, queue_size=1
    )
    self._reading: _Reading | None = None
    rospy.Subscriber(
      '/franka_gripper/joint_states', JointState, self._receive, queue_size=1
    )

  @property
  def position(self) -> float:
    """The width between the fingers, m."""
    reading = self._reading
    _check_age(
      '/franka_gripper/joint_states', reading, reading.time if reading else 0.0
    )
    return reading.position

  def activate(self) -> None:
    """Does nothing: the hand is always ready."""

  def reset(self) -> None:
    """Does nothing: the hand keeps no faults."""

  def open(self) -> None:
    self._move_to(_HAND_OPEN_M)

  def close(self) -> None:
    message = self._msg.GraspActionGoal()
    message.goal.width = _HAND_CLOSED_M
    message.goal.speed = _HAND_SPEED
    message.goal.force = _HAND_FORCE
    message.goal.epsilon.inner = _HAND_EPSILON
    message.goal.epsilon.outer = _HAND_EPSILON
    _publish(self._grasper, message)

  def move(self, position: int) -> None:
    closed = position / protocol.GRIPPER_RANGE[1]
    self._move_to(_HAND_WIDTH_M * (1 - closed))

  def shut_down(self) -> None:
    """Does nothing: the arm's launch file ends it."""

  def _move_to(self, width: float) -> None:
    message = self._msg.MoveActionGoal()
    message.goal.width = width
    message.goal.speed = _HAND_SPEED
    _publish(self._mover, message)

  def _receive(self, message: Any) -> None:
    self._reading = _Reading(float(sum(message.position)), time.monotonic())


def make(kind: str, ip: str = '') -> Any:
  """Returns a gripper by its kind, one of KINDS.

  Args:
    kind: one of KINDS.
    ip: of a Robotiq gripper.

  Raises:
    ValueError: there is no such kind, or the address is missing.
  """
  if kind == 'none':
    return NullGripper()
  if kind == 'franka':
    return FrankaGripper()
  if kind != 'robotiq':
    raise ValueError(f'gripper is {kind!r}; expected one of {KINDS}')
  if not ip:
    raise ValueError('a Robotiq gripper needs its address: --gripper-ip')
  return RobotiqGripper(ip)


def _publish(publisher: Any, message: Any) -> None:
  """Publishes a command; raises GripperError if nobody would get it."""
  if not publisher.get_num_connections():
    raise protocol.GripperError(
      f'nobody listens to {publisher.name}: the driver of the gripper is not '
      'running'
    )
  publisher.publish(message)


def _check_age(topic: str, message: Any, arrived: float) -> None:
  """Raises DriverError unless `message` came from `topic` a moment ago."""
  if message is None:
    raise protocol.NoStateError(f'nothing has come from {topic} yet')
  if time.monotonic() - arrived > _STALE_S:
    raise protocol.StaleStateError(
      f'nothing has come from {topic} for more than {_STALE_S:g} s'
    )
