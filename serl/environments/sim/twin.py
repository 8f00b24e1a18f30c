"""The twin: a simulated arm behind the protocol of the real one's driver.

It has the real controller's law and parameters, the real arm's errors and a
gripper that takes its time. Its clock is part of it: real time, or one that is
stepped, on which nothing happens unless somebody sleeps.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import copy
import dataclasses
import math
import threading
from typing import Annotated

from absl import logging
import mujoco
import numpy as np

from robot_server import protocol
from serl import configs
from serl.environments.franka import robot as robot_lib
from serl.environments.sim import arm as arm_lib
from serl.environments.sim import impedance as impedance_lib
from serl.environments.sim import scene
from serl.environments.sim import servo

TICK = 0.01  # s, between two states, as the real arm publishes them
Timestep = Annotated[float, configs.Bounds(1e-6, TICK)]  # of physics, s
_Angle = Annotated[float, configs.Bounds(-10, 10)]  # rad
_Joints = Annotated[tuple[_Angle, ...], configs.length(7)]
_JointSpeeds = Annotated[tuple[configs.Positive, ...], configs.length(7)]
_Seconds = Annotated[float, configs.Bounds(0, 600)]
_Wrench = Annotated[float, configs.Bounds(0, math.inf, '(]')]  # N or N m
_TARGET_TIME_CONSTANT = 0.2  # s, the real controller's
_REACHED = 0.01  # rad, of each joint, where a joint reset has ended
_STALE = 0.5  # s, of the state in a twin whose physics has stopped
_LARGEST_LAG = 1.0  # s that physics may trail real time before it lets go
_SETTLING = 0.6  # s that the fingers get in a restart


@dataclasses.dataclass(frozen=True)
class Config:
  """What kind of arm the twin is."""

  # Where a joint reset ends, rad. The tool's yaw is 0 there.
  reset_joints: _Joints = (0.0, 0.0, 0.0, -1.9, 0.0, 2.0, math.pi / 4)
  # The mean speed of the joint that moves most, rad/s.
  reset_speed: configs.Positive = 0.5
  reset_timeout: configs.Positive = 30.0  # s
  # Of the gripper, 0 (open) to 1 (closed).
  start_closing: configs.Fraction = 0.0
  gripper_seconds: configs.Positive = 0.6  # from open to closed
  # Beyond these the arm stops itself: of the external wrench at the tool, N and
  # N m (infinity is no limit), and of each joint, rad/s.
  force_limit: _Wrench = 100.0
  torque_limit: _Wrench = 100.0
  joint_speed_limits: _JointSpeeds = (2.175,) * 4 + (2.61,) * 3
  force_time_constant: _Seconds = 0.03  # s, of the low-pass on the wrench
  recovery_seconds: _Seconds = 0.5  # that the arm takes to recover
  # Standard deviations of what the sensors add, and the age of their readings.
  position_noise: configs.NonNegative = 0.0  # m
  velocity_noise: configs.NonNegative = 0.0  # m/s and rad/s
  force_noise: configs.NonNegative = 0.0  # N
  torque_noise: configs.NonNegative = 0.0  # N m
  latency: _Seconds = 0.0  # s, a multiple of TICK
  seed: configs.Seed = 0  # of the noise

  __post_init__ = configs.check


def make_spec(timestep: float = 0.002) -> mujoco.MjSpec:
  """Returns a room with the twin's arm as a spec to add a task to.

  The arm touches the room and what is added, never itself: to look for that
  costs an eighth of the physics.

  Args:
    timestep: of the physics, s.
  """
  spec = scene.make_spec(timestep)
  room = list(spec.geoms)
  arm_lib.attach(spec)
  for geom in spec.geoms:
    if geom not in room:
      geom.conaffinity = 0
  servo.add_actuators(spec, arm_lib.JOINTS)
  return spec


def make_impedance(
  compliance: Mapping[str, float],
) -> impedance_lib.Impedance:
  """Returns the law of the real controller with its parameters.

  Args:
    compliance: all that `protocol.COMPLIANCE` names.
  """

  def clips(name: str) -> tuple[float, ...]:
    return tuple(compliance[f'{name}_{axis}'] for axis in 'xyz')

  stiffness = compliance['nullspace_stiffness']
  joint1 = compliance['joint1_nullspace_stiffness']  # times the others'
  return impedance_lib.Impedance(
    translational_stiffness=compliance['translational_stiffness'],
    translational_damping=compliance['translational_damping'],
    rotational_stiffness=compliance['rotational_stiffness'],
    rotational_damping=compliance['rotational_damping'],
    translational_clip=clips('translational_clip'),
    translational_clip_negative=clips('translational_clip_neg'),
    rotational_clip=clips('rotational_clip'),
    rotational_clip_negative=clips('rotational_clip_neg'),
    translational_Ki=compliance['translational_Ki'],
    rotational_Ki=compliance['rotational_Ki'],
    target_time_constant=_TARGET_TIME_CONSTANT,
    nullspace_stiffness=stiffness,
    joint1_nullspace_stiffness=stiffness * joint1,
    nullspace_damping=2 * math.sqrt(stiffness),
    joint1_nullspace_damping=4 * math.sqrt(stiffness * joint1),
  )


class _SteppedClock:
  """Time that passes only while somebody sleeps, and then in no time."""

  def __init__(self, twin: 'Twin'):
    self._twin = twin

  def now(self) -> float:
    return self._twin.physics_time

  def sleep_until(self, deadline: float) -> None:
    self._twin.advance_to(deadline)


class _Follower:
  """A thread that lets the physics of a twin follow its clock."""

  def __init__(self, twin: 'Twin'):
    self._twin = twin
    self._closed = threading.Event()
    twin.skip_to(twin.now())
    self._thread = threading.Thread(target=self._run, name='twin', daemon=True)
    self._thread.start()

  def _run(self) -> None:
    twin = self._twin
    # Twice as often as needed: what was missed is made up for.
    while not self._closed.wait(TICK / 2):
      lag = twin.now() - twin.physics_time
      if lag > _LARGEST_LAG:
        logging.warning(
          'The twin was %.1f s behind real time and leaves them out: this '
          'machine is too slow or was asleep.',
          lag,
        )
        twin.skip_to(twin.now())
      elif lag >= TICK:
        twin.advance_to(twin.physics_time + TICK)

  def close(self) -> None:
    self._closed.set()
    self._thread.join()


class _Gripper:
  """The twin's gripper: always ready, and never out of order."""

  def __init__(self, command: Callable[[float], None]):
    self._command = command

  def activate(self) -> None:
    """Does nothing."""

  def reset(self) -> None:
    """Does nothing."""

  def open(self) -> None:
    """Opens it all the way."""
    self.move(protocol.GRIPPER_RANGE[0])

  def close(self) -> None:
    """Closes it, on what stands between its fingers."""
    self.move(protocol.GRIPPER_RANGE[1])

  def move(self, position: int) -> None:
    """Moves the fingers to `position`, from 0 (open) to 255 (closed)."""
    low, high = protocol.GRIPPER_RANGE
    if not low <= position <= high:
      raise ValueError(f'position={position}; expected {low} to {high}.')
    self._command((position - low) / (high - low))


@dataclasses.dataclass(frozen=True)
class _Motion:
  """Of the joints, from rest to rest, with the least jerk."""

  start: np.ndarray  # [7], rad
  goal: np.ndarray  # [7], rad
  begins: float  # s
  duration: float  # s

  def at(self, now: float) -> np.ndarray:
    phase = min(max((now - self.begins) / self.duration, 0.0), 1.0)
    done = phase**3 * (10 - 15 * phase + 6 * phase**2)
    return self.start + done * (self.goal - self.start)


class Twin:
  """A `robot_server.protocol.Driver` of a simulated arm.

  The impedance controller runs from the beginning and holds the tool at the
  reset posture. Beside the protocol there are the clock to sleep by, the model
  to look at and `restart`.
  """

  def __init__(
    self,
    model: mujoco.MjModel,
    config: Config = Config(),
    real_time: bool = False,
  ):
    """Creates the twin at its reset posture.

    Args:
      model: compiled from a spec of `make_spec`.
      config: what kind of arm it is.
      real_time: whether the clock is the machine's, else it is stepped: every
        `sleep_until` simulates exactly the time up to then, and the same calls
        give the same states, bit for bit.
    """
    # Its own: the law's parameters are the model's.
    self.model = model = copy.copy(model)
    self.data = mujoco.MjData(model)
    # Whoever changes or copies `data` holds it.
    self.lock = threading.RLock()
    self.gripper = _Gripper(self._command_gripper)
    self._config = config
    self._rng = np.random.default_rng(config.seed)
    self._compliance = {
      name: limits.default for name, limits in protocol.COMPLIANCE.items()
    }
    self._arm = arm_lib.Arm(model, self.data, impedance_lib.OFF)
    self._servos = servo.Servos(model, self.data)
    self._joint_speed_limits = np.array(config.joint_speed_limits)
    self._substeps = 0  # since the beginning of time
    self._skipped = 0.0  # s that no physics was simulated for
    self.restart()
    self.clock: robot_lib.Clock = _SteppedClock(self)
    self._follower: _Follower | None = None
    if real_time:
      self.clock = robot_lib.RealTimeClock()
      self._follower = _Follower(self)

  def restart(self) -> None:
    """Puts the arm where a joint reset ends, at once and free of errors.

    What no real arm can do: for simulations that begin anew. The bodies that
    are no part of the arm go back to where the model has them; the clock and
    the compliance stay.
    """
    with self.lock:
      mujoco.mj_resetData(self.model, self.data)
      self._arm.reset(self._config.reset_joints)
      self._closing = self._gripper_goal = self._config.start_closing
      self._arm.set_gripper(self._closing)
      self._faults: tuple[str, ...] = ()
      self._recovered_at = math.inf
      self._stopped = False  # by stop_impedance
      self._wrench = np.zeros(6)
      self._run_impedance()
      self._arm.step(round(_SETTLING / self.model.opt.timestep))
      # Readers take no lock: there is a state at all times.
      self._states = self._begin_history()

  def _run_impedance(self) -> None:
    """Lets the law hold the tool where it is."""
    self._servos.switch(False)
    self._motion: _Motion | None = None  # of the servos, while they rule
    self._arm.set_impedance(make_impedance(self._compliance))
    self._arm.hold()

  def _run_servos(self, goal: np.ndarray) -> None:
    """Lets the servos move the joints to `goal`, [7], rad."""
    start = self._arm.joint_positions
    farthest = np.abs(goal - start).max()
    self._arm.set_impedance(impedance_lib.OFF)
    self._servos.switch(True)
    duration = max(farthest / self._config.reset_speed, TICK)
    self._motion = _Motion(start, goal, self.physics_time, duration)

  @property
  def physics_time(self) -> float:
    """How far the physics is on the clock, s."""
    return self._substeps * self.model.opt.timestep + self._skipped

  def skip_to(self, deadline: float) -> None:
    """Lets time pass without physics, up to `deadline`, s, on the clock."""
    with self.lock:
      self._skipped += deadline - self.physics_time
      self._states = self._begin_history()

  def advance_to(self, deadline: float) -> None:
    """Simulates up to `deadline`, s, on the clock."""
    timestep = self.model.opt.timestep
    per_tick = max(1, round(TICK / timestep))
    while True:
      with self.lock:
        # Half a physics step is as near as it gets.
        left = round((deadline - self.physics_time) / timestep)
        if left <= 0:
          return
        self._step(min(left, per_tick))
        # On the way there who steps it does not look, unless at what has been;
        # a watchdog does, and must not take a long way for a standstill.
        aged = self.physics_time - self._states[-1].time > _STALE / 2
        if left <= per_tick or aged or self._states.maxlen > 1:
          self._states.append(self._measure())

  def _step(self, substeps: int) -> None:
    duration = substeps * self.model.opt.timestep
    self._substeps += substeps
    if self.physics_time >= self._recovered_at:
      self._recovered_at = math.inf
      self._faults = ()
      if not self._stopped:
        self._run_impedance()
    if self._motion is not None:
      self._servos.set_target(self._motion.at(self.physics_time))
    farthest = duration / self._config.gripper_seconds
    change = self._gripper_goal - self._closing
    self._closing += min(max(change, -farthest), farthest)
    self._arm.set_gripper(self._closing)
    self._arm.step(substeps)
    blend = 1 - math.exp(-duration / self._config.force_time_constant)
    self._wrench += blend * (self._arm.external_wrench() - self._wrench)
    self._watch()

  def _watch(self) -> None:
    """Stops the arm as its reflexes do."""
    if self._faults:
      return
    config = self._config
    force, torque = self._wrench[:3], self._wrench[3:]
    # np.count_nonzero costs a fifth of np.any.
    too_fast = np.abs(self._arm.joint_velocities) > self._joint_speed_limits
    if (
      math.sqrt(force @ force) > config.force_limit
      or math.sqrt(torque @ torque) > config.torque_limit
    ):
      self._faults = ('cartesian_reflex',)
    elif np.count_nonzero(too_fast):
      self._faults = ('joint_velocity_violation',)
    if self._faults:
      # The brakes.
      self._run_servos(self._arm.joint_positions)

  def _begin_history(self) -> collections.deque[protocol.State]:
    """Returns the states from which the readers get the first."""
    return collections.deque(
      [self._measure()], maxlen=1 + round(self._config.latency / TICK)
    )

  def _measure(self) -> protocol.State:
    arm, config = self._arm, self._config
    jacobian = arm.jacobian()
    speeds = arm.joint_velocities
    if not np.isfinite(speeds).all():
      raise FloatingPointError(
        f'The simulation diverged: joint velocities {speeds}. Reduce the '
        'stiffness or the physics time step.'
      )
    rotation = arm.tcp_rotation  # of the stiffness frame, which is the tool's
    position = self._sense(arm.tcp_position, config.position_noise)
    w, x, y, z = arm.tcp_quaternion
    return protocol.State(
      pose=np.array((*position, x, y, z, w)),
      vel=self._sense(jacobian @ speeds, config.velocity_noise),
      force=self._sense(self._wrench[:3] @ rotation, config.force_noise),
      torque=self._sense(self._wrench[3:] @ rotation, config.torque_noise),
      q=arm.joint_positions,
      dq=speeds,
      jacobian=jacobian,
      gripper_pos=protocol.GRIPPER_RANGE[1] * arm.gripper_position,
      time=self.physics_time,
      mode=self._mode(),
      faults=self._faults,
    )

  def _sense(self, values: np.ndarray, noise: float) -> np.ndarray:
    if noise == 0:
      return values
    return values + noise * self._rng.standard_normal(values.shape)

  def _mode(self) -> str:
    if self._faults:
      return 'reflex' if math.isinf(self._recovered_at) else 'recovering'
    # Franka's idle is an arm without a controller; a joint reset is one.
    return 'idle' if self._stopped else 'moving'

  def now(self) -> float:
    """Returns the time on the clock, s."""
    return self.clock.now()

  def read_state(self) -> protocol.State:
    """Returns the newest state that the sensors give.

    Raises:
      StaleStateError: if the physics has stopped following real time.
    """
    now = self.now()  # first: between the two another thread may go on
    state = self._states[0]
    age = now - state.time
    if age > _STALE + self._config.latency:
      raise protocol.StaleStateError(
        f'The twin has stood still for {age:.1f} s: its physics has failed '
        '(see its traceback) or the machine is too slow for real time.'
      )
    return state

  def read_arm(self) -> protocol.Reading:
    """Returns the arm's part of it."""
    return self.read_state().reading()

  def command_pose(self, pose: Sequence[float]) -> None:
    """Sends the pose that the law pulls the tool to.

    Args:
      pose: [7], xyz and a unit quaternion.

    Raises:
      ValueError: if it is none.
      ReflexError: if the arm has stopped itself.
      ControllerError: if the impedance controller does not run.
    """
    pose = np.asarray(pose, float)
    if pose.shape != (7,) or not abs(np.linalg.norm(pose[3:]) - 1) < 1e-3:
      raise ValueError(
        f'pose={pose}; expected xyz and a unit quaternion xyzw, 7 numbers.'
      )
    if not np.isfinite(pose[:3]).all():
      raise ValueError(f'pose={pose}; expected finite numbers.')
    with self.lock:
      self._refuse_faults()
      if self._motion is not None:
        raise protocol.ControllerError(
          'The impedance controller does not run: start_impedance starts it, '
          'and a joint reset in progress ends by itself.'
        )
      x, y, z, w = pose[3:]
      self._arm.set_target(pose[:3])
      self._arm.set_target_orientation(np.array((w, x, y, z)))

  def _refuse_faults(self) -> None:
    if self._faults:
      raise protocol.ReflexError(
        f'The arm has stopped itself ({", ".join(self._faults)}): free it '
        'from what it touches and call clear_errors.'
      )

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    """Changes some parameters of the law; the others stay as they are.

    Args:
      parameters: by the names of `protocol.COMPLIANCE` and within its ranges.

    Raises:
      ValueError: if they are not; nothing is changed then.
    """
    for name, value in parameters.items():
      if name not in protocol.COMPLIANCE:
        raise ValueError(
          f'Unknown parameter {name!r}; expected some of '
          f'{", ".join(protocol.COMPLIANCE)}.'
        )
      limits = protocol.COMPLIANCE[name]
      if not limits.low <= value <= limits.high:
        raise ValueError(
          f'{name}={value}; expected {limits.low} to {limits.high}.'
        )
    with self.lock:
      self._compliance.update(parameters)
      if self._motion is None:
        self._arm.set_impedance(make_impedance(self._compliance))

  def start_impedance(self) -> None:
    """Starts the impedance controller; it holds the tool where it is.

    Raises:
      ReflexError: if the arm has stopped itself.
    """
    with self.lock:
      self._refuse_faults()
      self._stopped = False
      if self._motion is not None:
        self._run_impedance()

  def stop_impedance(self) -> None:
    """Stops the impedance controller; the arm's own one holds the joints."""
    with self.lock:
      self._stopped = True
      if not self._faults:
        self._run_servos(self._arm.joint_positions)

  def reset_joints(self) -> None:
    """Moves the joints to the reset posture; returns when they are there.

    The impedance controller runs afterwards. A stepped clock passes meanwhile.

    Raises:
      JointResetError: if they did not get there in time, or a reflex stopped
        them.
    """
    config = self._config
    goal = np.array(config.reset_joints)
    with self.lock:
      self._faults = ()
      self._recovered_at = math.inf
      self._stopped = False
      self._run_servos(goal)
      motion = self._motion
    deadline = self.now() + config.reset_timeout
    while True:
      self.clock.sleep_until(self.now() + TICK)
      with self.lock:
        left = np.abs(self._arm.joint_positions - goal)
        if self._faults or self._motion is not motion:
          raise protocol.JointResetError(
            'The joint reset was interrupted by '
            f'{", ".join(self._faults) or "another command"}, '
            f'{left.max():.3f} rad away from its end.'
          )
        ended = self.physics_time >= motion.begins + motion.duration
        if ended and (left < _REACHED).all():
          self._run_impedance()
          return
        if self.now() >= deadline:
          self._run_impedance()
          raise protocol.JointResetError(
            f'Joint {left.argmax() + 1} is {left.max():.3f} rad away from its '
            f'target after {config.reset_timeout} s: something holds the arm.'
          )

  def clear_errors(self) -> None:
    """Recovers from a reflex; the arm takes `recovery_seconds` to it.

    Afterwards the tool is held where it is.
    """
    with self.lock:
      if self._faults and math.isinf(self._recovered_at):
        self._recovered_at = self.physics_time + self._config.recovery_seconds

  def _command_gripper(self, closing: float) -> None:
    with self.lock:
      self._gripper_goal = closing

  def close(self) -> None:
    """Ends the physics of a twin in real time."""
    if self._follower is not None:
      self._follower.close()
