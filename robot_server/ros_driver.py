"""The real arm, behind ROS 1 and serl_franka_controllers.

Works for the Panda and the FR3: both speak franka_ros. rospy and the messages
come with the robot's workspace, so they are imported when the arm is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import logging
import math
import socket
import threading
import time
from typing import Any, Callable, NamedTuple
from urllib import parse

import numpy as np
from scipy.spatial import transform

from robot_server import limits
from robot_server import processes
from robot_server import protocol
from robot_server import states

_log = logging.getLogger(__name__)

RESET_JOINTS = (0.0, 0.0, 0.0, -1.9, 0.0, 2.0, 0.0)  # rad

_PACKAGE = 'serl_franka_controllers'
_POSE_TOPIC = '/cartesian_impedance_controller/equilibrium_pose'
_RECOVERY_TOPIC = '/franka_control/error_recovery/goal'
_STATE_TOPIC = 'franka_state_controller/franka_states'
_JACOBIAN_TOPIC = '/cartesian_impedance_controller/franka_jacobian'
_COMPLIANCE_NODE = (
  'cartesian_impedance_controllerdynamic_reconfigure_compliance_param_node'
)
_JOINTS_PARAMETER = '/target_joint_positions'
_POLL_S = 0.02
# Until a node counts as gone, s.
_ANSWER_S = 1.0
# That the arm gets to recover before its joints are reset, s.
_RECOVERY_S = 2.0
# Modes in which no controller moves it.
_STOPPED = ('reflex', 'user_stopped', 'guiding')


@dataclasses.dataclass(frozen=True)
class RosConfig:
  """One arm and the patience with it."""

  robot_ip: str
  load_gripper: bool = False  # Franka's own hand
  reset_joints: tuple[float, ...] = limits.within(RESET_JOINTS, -10, 10)  # rad
  joint_tolerance: float = limits.within(1e-2, high=1.0)  # rad, each joint
  joint_reset_timeout: float = limits.within(30.0)  # s
  # s, for a controller to publish
  start_timeout: float = limits.within(20.0)
  # s, for roslaunch to end its nodes
  stop_timeout: float = limits.within(20.0)
  compliance_timeout: float = limits.within(2.0)  # s
  # s; franka_control publishes 30 times a second or more.
  stale_after: float = limits.within(0.25, high=60.0)

  def __post_init__(self):
    limits.check_fields(self)


class _Arrived(NamedTuple):
  value: Any
  time: float  # s, monotonic


class RosDriver:
  """A Franka arm under the impedance controller; see `protocol.Driver`."""

  def __init__(self, config: RosConfig, gripper: Any):
    """Connects to the topics; the controller is not started.

    Args:
      config: of the arm.
      gripper: one of `grippers`.
    """
    from franka_msgs import msg as franka_msgs
    from geometry_msgs import msg as geometry_msgs
    import rospy
    from serl_franka_controllers import msg as serl_msgs

    self.gripper = gripper
    self._config = config
    self._rospy = rospy
    self._pose_message = geometry_msgs.PoseStamped
    self._recovery_message = franka_msgs.ErrorRecoveryActionGoal
    self._state: _Arrived | None = None  # a FrankaState
    self._jacobian: _Arrived | None = None  # [6, 7]
    self._launched: processes.Process | None = None
    self._compliance: Any = None
    # Whoever starts controllers has it. Who ends them must not wait for it.
    self._launching = threading.Lock()
    self._stops = 0  # how often that was asked for
    self._resets = False  # the joint controller is launched
    self._pose_publisher = rospy.Publisher(
      _POSE_TOPIC, self._pose_message, queue_size=1, tcp_nodelay=True
    )
    self._recovery_publisher = rospy.Publisher(
      _RECOVERY_TOPIC, self._recovery_message, queue_size=1
    )
    rospy.Subscriber(
      _STATE_TOPIC,
      franka_msgs.FrankaState,
      self._receive_state,
      queue_size=1,
      tcp_nodelay=True,
    )
    rospy.Subscriber(
      _JACOBIAN_TOPIC,
      serl_msgs.ZeroJacobian,
      self._receive_jacobian,
      queue_size=1,
      tcp_nodelay=True,
    )

  def now(self) -> float:
    """Returns the monotonic time of this computer, s."""
    return time.monotonic()

  def read_state(self) -> protocol.State:
    """Returns the newest state."""
    newest = self._newest(_STATE_TOPIC, self._state)
    jacobian, _ = self._newest(_JACOBIAN_TOPIC, self._jacobian)
    dq = np.array(newest.value.dq, float)
    return protocol.State(
      **_read(newest)._asdict(),
      vel=jacobian @ dq,
      q=np.array(newest.value.q, float),
      dq=dq,
      jacobian=jacobian,
      gripper_pos=self.gripper.position,
    )

  def read_arm(self) -> protocol.Reading:
    """Returns the newest reading of the arm alone."""
    return _read(self._newest(_STATE_TOPIC, self._state))

  def command_pose(self, pose: Sequence[float]) -> None:
    """Publishes the pose for the impedance controller."""
    message = self._pose_message()
    message.header.frame_id = '0'
    message.header.stamp = self._rospy.Time.now()
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = pose[:3]
    orientation.x, orientation.y, orientation.z, orientation.w = pose[3:]
    _publish(self._pose_publisher, message)

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    """Sets the parameters by dynamic_reconfigure and checks that they took."""
    import dynamic_reconfigure
    from dynamic_reconfigure import client

    rospy = self._rospy
    try:
      if self._compliance is None:
        self._compliance = client.Client(
          _COMPLIANCE_NODE, timeout=self._config.compliance_timeout
        )
      taken = self._compliance.update_configuration(dict(parameters))
    except (
      rospy.ROSException,
      rospy.ServiceException,
      dynamic_reconfigure.DynamicReconfigureParameterException,
      dynamic_reconfigure.DynamicReconfigureCallbackException,
    ) as error:
      raise protocol.ControllerError(
        f'the impedance controller did not take its parameters: {error}'
      ) from error
    for name, value in parameters.items():
      if taken is None or taken.get(name) != value:
        raise protocol.ControllerError(
          f'the impedance controller was asked for {name} {value} and has '
          f'{taken.get(name) if taken else None}'
        )

  @property
  def mover(self) -> int | None:
    """The process that moves the arm by itself: a joint reset's; else None."""
    launched = self._launched
    return launched.pid if self._resets and launched else None

  def start_impedance(self) -> None:
    """Launches the impedance controller, in place of one that died.

    One that another server has left behind is replaced: nobody could end it.
    """
    stops = self._stops
    with self._launching:
      if self._launched is None or not self._controls(0.0):
        self._stop_launched()
        self._launch_impedance(stops)

  def stop_impedance(self) -> None:
    """Ends the controller that runs; a joint reset raises then."""
    self._stops += 1
    self._stop_launched()

  def reset_joints(self) -> None:
    """Moves the joints by the joint controller, then launches impedance."""
    stops = self._stops
    with self._launching:
      with needing_roscore():
        self._rospy.set_param(
          _JOINTS_PARAMETER, list(self._config.reset_joints)
        )
      self._stop_launched()
      self._resets = True
      try:
        self._launch('joint.launch', stops)
        started = self.now()
        self._wait(
          lambda: (
            self._is_fresh(self._state, started)
            and self._recovery_publisher.get_num_connections()
          ),
          self._config.start_timeout,
          'the joint controller publishes no state',
          stops,
        )
        # It does not move an arm that has an error.
        self.clear_errors()
        why_not = self._wait_for_joints(stops)
      finally:
        # Whatever failed: nobody else would end what moves the arm.
        self._stop_launched()
        self._resets = False
      self._launch_impedance(stops)
      if why_not:
        raise protocol.JointResetError(why_not)

  def clear_errors(self) -> None:
    """Asks franka_control to recover."""
    _publish(self._recovery_publisher, self._recovery_message())

  def close(self) -> None:
    """Ends the controller, one that is being started too, and the gripper's."""
    self.stop_impedance()
    self.gripper.shut_down()

  def _receive_state(self, message: Any) -> None:
    self._state = _Arrived(message, time.monotonic())

  def _receive_jacobian(self, message: Any) -> None:
    jacobian = np.reshape(message.zero_jacobian, (6, 7), order='F')
    self._jacobian = _Arrived(jacobian, time.monotonic())

  def _newest(self, topic: str, arrived: _Arrived | None) -> _Arrived:
    """Returns what arrived from a topic unless it is too old."""
    launched = self._launched
    if launched is not None and not launched.is_alive():
      raise protocol.ControllerError(launched.describe())
    if arrived is None:
      raise protocol.NoStateError(f'nothing has come from {topic} yet')
    if self.now() - arrived.time > self._config.stale_after:
      raise protocol.StaleStateError(
        f'nothing has come from {topic} for more than '
        f'{self._config.stale_after:g} s; POST /startimp starts the controller '
        'anew'
      )
    return arrived

  def _is_fresh(self, arrived: _Arrived | None, since: float) -> bool:
    """Tells whether something arrived after `since` and is not too old."""
    since = max(since, self.now() - self._config.stale_after)
    return arrived is not None and arrived.time > since

  def _controls(self, since: float) -> bool:
    """Tells whether an impedance controller publishes and takes commands."""
    return bool(
      self._is_fresh(self._state, since)
      and self._is_fresh(self._jacobian, since)
      and self._pose_publisher.get_num_connections()
      and self._recovery_publisher.get_num_connections()
    )

  def _launch_impedance(self, stops: int) -> None:
    """Launches the impedance controller; returns when it runs."""
    self._launch('impedance.launch', stops)
    started = self.now()
    self._wait(
      lambda: self._controls(started),
      self._config.start_timeout,
      'the impedance controller publishes no state, or takes no commands',
      stops,
    )

  def _launch(self, file: str, stops: int) -> None:
    """Starts a launch file of the controllers' package.

    Args:
      file: its name.
      stops: `self._stops` when this was asked for; if it has changed since,
        somebody has asked that nothing runs.
    """
    self._demand_no_stop(stops)
    gripper = 'true' if self._config.load_gripper else 'false'
    try:
      self._launched = processes.Process(
        [
          'roslaunch',
          _PACKAGE,
          file,
          f'robot_ip:={self._config.robot_ip}',
          f'load_gripper:={gripper}',
        ]
      )
    except OSError as error:
      raise protocol.ControllerError(
        f'cannot start roslaunch: {error}; source the setup file of the '
        "robot's workspace"
      ) from error

  def _stop_launched(self) -> None:
    """Ends what was launched, if anything was."""
    launched = self._launched
    if launched is not None:
      launched.stop(self._config.stop_timeout)
    # Another one may have been launched meanwhile.
    if self._launched is launched:
      self._launched = None

  def _demand_no_stop(self, stops: int) -> None:
    """Raises ControllerError if the controllers were to stop since."""
    if self._stops != stops:
      self._stop_launched()
      raise protocol.ControllerError('the controllers were stopped meanwhile')

  def _wait(
    self, is_so: Callable[[], Any], timeout: float, otherwise: str, stops: int
  ) -> None:
    """Returns when it is so; raises ControllerError, and stops, otherwise."""
    give_up = self.now() + timeout
    while not is_so():
      self._demand_no_stop(stops)
      launched = self._launched
      if launched is None or not launched.is_alive():
        end = launched.describe() if launched else 'nothing runs'
        raise protocol.ControllerError(f'{otherwise}: {end}')
      if self.now() > give_up:
        self._stop_launched()
        raise protocol.ControllerError(
          f'{otherwise} within {timeout:g} s: {launched.describe()}'
        )
      time.sleep(_POLL_S)

  def _wait_for_joints(self, stops: int) -> str:
    """Waits for the joints' reset target; returns why it was not reached."""
    target = np.array(self._config.reset_joints)
    began = self.now()
    reason = ''

    def is_over() -> bool:
      nonlocal reason
      reading = None
      with contextlib.suppress(protocol.DriverError):
        # Silent for a moment, or at its end, which whoever waits notices.
        reading = self.read_arm()
      joints = np.array(self._state.value.q)
      if np.all(np.abs(joints - target) < self._config.joint_tolerance):
        return True
      elapsed = self.now() - began
      if reading and elapsed > _RECOVERY_S and reading.mode in _STOPPED:
        faults = ', '.join(reading.faults) or 'no fault is named'
        reason = f'the arm is in the mode {reading.mode} ({faults})'
      elif elapsed > self._config.joint_reset_timeout:
        reason = f'{self._config.joint_reset_timeout:g} s have passed'
      if reason:
        reason += (
          f'; the joints are at {np.round(joints, 3).tolist()}, not at '
          f'{target.tolist()}'
        )
      return bool(reason)

    self._wait(is_over, math.inf, 'the joint reset was ended', stops)
    return reason


@contextlib.contextmanager
def ros_node(name: str = 'robot_server', timeout: float = 10.0) -> Any:
  """Makes this process a ROS node; starts a roscore where there is none.

  Args:
    name: of the node.
    timeout: for the roscore to answer, s.

  Raises:
    ControllerError: ROS is not installed or does not start, or there is such a
      node: ROS would end it for this one.
  """
  try:
    import rosgraph
    import rospy
  except ImportError as error:
    raise protocol.ControllerError(
      f"{error}; source the setup file of the robot's ROS workspace"
    ) from error

  core = None
  if rosgraph.is_master_online():
    _demand_no_other(name)
  else:
    _log.info('no roscore answers; starting one')
    port = parse.urlsplit(rosgraph.get_master_uri()).port
    core = processes.Process(['roscore', '-p', str(port)])
    give_up = time.monotonic() + timeout
    while not rosgraph.is_master_online():
      if not core.is_alive() or time.monotonic() > give_up:
        core.stop(timeout)
        raise protocol.ControllerError(f'no roscore: {core.describe()}')
      time.sleep(_POLL_S)
  try:
    # The server ends by its own signals, and ends its programs then.
    rospy.init_node(name, disable_signals=True)
    yield
  finally:
    rospy.signal_shutdown('the server ends')
    if core is not None:
      core.stop(timeout)


def _demand_no_other(name: str) -> None:
  """Raises ControllerError if a node of this name is there and answers."""
  import rosgraph

  try:
    uri = parse.urlsplit(rosgraph.Master(f'/{name}').lookupNode(f'/{name}'))
    socket.create_connection((uri.hostname, uri.port), _ANSWER_S).close()
  except (rosgraph.MasterException, OSError):
    # There is none, or it was killed.
    return
  raise protocol.ControllerError(
    f'a node {name} is there already, at {uri.netloc}: another robot server '
    'leads the arm; end it first'
  )


@contextlib.contextmanager
def needing_roscore() -> Any:
  """Says so where something fails because no roscore answers.

  Raises:
    ControllerError: none answers.
  """
  try:
    yield
  except OSError as error:
    raise protocol.ControllerError(
      f'no roscore answers any more ({error}); start it and this server anew'
    ) from error


def _read(arrived: _Arrived) -> protocol.Reading:
  """Returns the reading in a FrankaState.

  Raises:
    BadStateError: no arm can have it.
  """
  message, time_s = arrived
  matrix = np.reshape(np.array(message.O_T_EE, float), (4, 4), order='F')
  states.check_transform(matrix)
  mode = int(message.robot_mode)
  if mode not in range(len(protocol.MODES)):
    raise protocol.BadStateError(
      f'the arm reports robot_mode {mode}; expected 0 to '
      f'{len(protocol.MODES) - 1}, as {", ".join(protocol.MODES)}'
    )
  rotation = transform.Rotation.from_matrix(matrix[:3, :3])
  wrench = np.array(message.K_F_ext_hat_K, float)
  errors = message.current_errors
  return protocol.Reading(
    pose=np.concatenate([matrix[:3, 3], rotation.as_quat()]),
    force=wrench[:3],
    torque=wrench[3:],
    time=time_s,
    mode=protocol.MODES[mode],
    faults=tuple(name for name in errors.__slots__ if getattr(errors, name)),
  )


def _publish(publisher: Any, message: Any) -> None:
  """Publishes a command; raises ControllerError if nobody would get it."""
  if not publisher.get_num_connections():
    raise protocol.ControllerError(
      f'nobody listens to {publisher.name}: the controller is not running; '
      'POST /startimp'
    )
  publisher.publish(message)
