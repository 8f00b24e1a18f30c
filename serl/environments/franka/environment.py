"""A task on a Franka arm as a `dm_env.Environment`."""

from collections.abc import Mapping
import contextlib
from typing import Any

from absl import logging
import dm_env
import numpy as np

from robot_server import protocol
from serl import core
from serl import specs
from serl.environments.franka import cameras as cameras_lib
from serl.environments.franka import config as config_lib
from serl.environments.franka import poses
from serl.environments.franka import resets
from serl.environments.franka import robot as robot_lib

# Of the gripper's action, times its scale: closes up to the one, opens from the
# other on.
_CLOSES, _OPENS = -0.5, 0.5
# What an arm may measure in the tasks at hand; the networks scale by it.
_POSITION_MARGIN = 0.02  # m beside the box of allowed poses
_LINEAR_SPEED = 0.5  # m/s
_ANGULAR_SPEED = 2.0  # rad/s
_FORCE = 50.0  # N
_TORQUE = 10.0  # N m
_POLL_S = 0.005  # between two looks for a newer picture


class ActionError(ValueError):
  """An action that nothing may be moved by: no fault of the robot's."""


class FrankaEnvironment(dm_env.Environment):
  """A pose-controlled task on a Franka arm, real or simulated.

  An action is [7] in [-1, 1]: along and about x, y, z of the base frame, and of
  the gripper. It moves the commanded pose away from the measured one, and the
  arm follows until the step's end, when it is observed. Steps end at deadlines
  that are periods of the control rate apart, whatever was needed in between;
  the time of the inference is part of a step.

  Reaching the target terminates an episode (discount 0); the time limit ends it
  with discount 1.

  What goes wrong with the arm, a camera or an action is raised as a
  `core.FaultError`; the arm is held then and `reset` begins anew.
  """

  gripper_closes = -1  # the sign of actions that close it

  def __init__(
    self,
    config: config_lib.Config,
    robot: robot_lib.Robot,
    cameras: Mapping[str, cameras_lib.Camera],
    clock: robot_lib.Clock,
    seed: int = 0,
  ):
    """Initialises the environment; nothing moves.

    Args:
      config: of the task.
      robot: the arm.
      cameras: by their names in the config.
      clock: on which states and pictures are dated.
      seed: of the poses in which episodes begin.

    Raises:
      ValueError: these are not the config's cameras.
    """
    names = [camera.name for camera in config.cameras]
    if sorted(cameras) != sorted(names):
      raise ValueError(
        f'The cameras are {sorted(cameras)}; expected {sorted(names)}, as the '
        'config has them.'
      )
    self._config = config
    self._robot = robot
    self._cameras = dict(cameras)
    self._clock = clock
    self._rng = np.random.default_rng(seed)
    self._observation_spec = _observation_spec(config)
    self._period = 1 / config.control_rate
    self._episodes = 0  # begun since the joints were reset
    self._running = False
    self._released = False
    self._closed: bool | None = None  # what the gripper was asked last
    self._begin()

  def _begin(self) -> None:
    self._steps = 0
    self._late_steps = 0
    self._success = False
    self._commanded = -np.inf  # when the last step's pose was sent, s
    self._dates: dict[str, float] = {}  # of the last observation, s
    self._extras: dict[str, Any] = {}

  def action_spec(self) -> specs.BoundedArray:
    """Returns [7] float32: translation, rotation, gripper; base frame."""
    return specs.BoundedArray((7,), np.float32, -1.0, 1.0, name='action')

  def observation_spec(self) -> dict[str, specs.BoundedArray]:
    """Returns the arrays by name, all float32 but the images.

    tcp_pose: [7], xyz in m and quaternion xyzw, base frame.
    tcp_vel: [6], linear m/s, angular rad/s, base frame.
    tcp_force, tcp_torque: [3], N and N m, external, stiffness frame.
    gripper_pose: [1], in the gripper's own unit.
    The cameras by their names: [H, W, 3] uint8, RGB.

    The bounds are what is met in practice, for scaling, and no guarantee.
    """
    return dict(self._observation_spec)

  def reward_spec(self) -> specs.BoundedArray:
    """Returns a scalar: 1 at the target, else 0."""
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='reward')

  def discount_spec(self) -> specs.BoundedArray:
    """Returns a scalar: 0 at the target, else 1."""
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='discount')

  def reset(self) -> dm_env.TimeStep:
    """Moves the arm to where an episode begins, and begins it.

    Raises:
      FaultError: the arm or a camera does not work, or something is in the way.
    """
    self._running = False
    self._begin()
    try:
      # Before the arm moves: it stays where it is until all see again.
      self._look()
      self._move_to_start()
      state, observation = self._observe()
    except core.FaultError:
      self._hold()
      raise
    self._state = state
    self._running = True
    self._deadline = self._clock.now()
    return dm_env.restart(observation)

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Acts for one period; begins an episode if none is running.

    Raises:
      FaultError: the arm or a camera does not work. There is no such step
        then, and no episode any more.
      ActionError: the action has another shape, or is not finite; likewise.
    """
    if not self._running:
      return self.reset()
    times = {
      **self._dates,  # of what was acted on
      'inference_time': self._clock.now(),  # when there was the action
    }
    try:
      self._check_action(action)
      times |= self._command(np.asarray(action, float))
      late = self._wait()
      state, observation = self._observe()
      self._success = self._is_successful(state.pose)
      over = self._success or self._steps + 1 >= self._config.episode_steps
      if over:
        observation |= self._look(since=self._commanded)
    except (core.FaultError, ActionError):
      self._drop()
      raise
    self._state = state
    self._steps += 1
    self._late_steps += late
    self._extras = {
      **{name: np.float64(time) for name, time in times.items()},
      'late': np.uint8(late),
      **{name: np.uint8(told) for name, told in self._tell_success().items()},
    }
    self._running = not over
    return dm_env.TimeStep(
      dm_env.StepType.LAST if over else dm_env.StepType.MID,
      np.float32(self._success),
      np.float32(not self._success),
      observation,
    )

  def demand_pictures(self) -> None:
    """Returns when all cameras have given a picture since the last command.

    Whoever else ends an episode asks for it: a camera that stalled just before
    would be noticed by the next steps only.

    Raises:
      FaultError: one gives none. There is no such episode then.
    """
    try:
      self._look(since=self._commanded)
    except core.FaultError:
      self._drop()
      raise

  def hold(self) -> None:
    """Ends an episode that is running, and has the arm stay where it is.

    It raises no `FaultError`: without its server nothing more can be done here.
    """
    if self._running:
      self._drop()

  def step_extras(self) -> dict[str, np.generic]:
    """Returns what the last step was beside dm_env's terms.

    In s on the clock: 'capture_time', when the observation acted on was
    asked for, 'state_time', when its state was measured, 'frame_time', when
    the oldest of its pictures arrived, if there are any, 'inference_time', when
    its action was there, 'command_time' and 'acknowledgement_time', when that
    was sent and had arrived. 'late', whether the step missed its deadline;
    'success', where the task has a threshold.
    """
    return dict(self._extras)

  def episode_metrics(self) -> dict[str, float]:
    """Returns how many 'late_steps' the episode has so far, and its 'success'.

    Without a threshold nothing here tells success: a wrapper does.
    """
    return {**self._tell_success(), 'late_steps': float(self._late_steps)}

  @property
  def real_time(self) -> bool:
    """Whether time passes while nothing acts, see `core.HasRealTime`."""
    return True

  @property
  def control_timestep(self) -> float:
    """The duration of a step, s."""
    return self._period

  def close(self) -> None:
    """Holds the arm and lets go of it and of the cameras; once is enough."""
    if self._released:
      return
    self._released = True
    self._running = False
    with contextlib.ExitStack() as stack:
      for camera in self._cameras.values():
        stack.callback(camera.close)
      stack.callback(self._robot.close)
      self._hold()

  def _check_action(self, action: Any) -> None:
    spec = self.action_spec()
    if np.shape(action) != spec.shape:
      raise ActionError(
        f'The action {action!r} has shape {np.shape(action)}; expected '
        f'{spec.shape}.'
      )
    if not np.isfinite(action).all():
      raise ActionError(
        f'The action {action!r} holds NaN or infinity; expected finite '
        'numbers. Look for a diverged policy.'
      )

  def _command(self, action: np.ndarray) -> dict[str, float]:
    """Sends what an action asks for; returns when it was sent and arrived."""
    config = self._config
    if self._clock.now() - self._state.time > (
      self._period + config.max_state_age
    ):
      # Whoever decided took so long that the arm may be elsewhere: it is not to
      # be pulled back to where it was seen.
      self._state = robot_lib.read_fresh(
        self._robot, self._clock, config.max_state_age
      )
    action = np.clip(action, -1.0, 1.0)
    translation, rotation, gripper = config.action_scale
    target = poses.clipped(
      poses.moved(
        self._state.pose, translation * action[:3], rotation * action[3:6]
      ),
      config.pose_low,
      config.pose_high,
    )
    if config.inner_low is not None:
      target[:3] = poses.stopped_at(
        self._state.pose[:3], target[:3], config.inner_low, config.inner_high
      )
    self._commanded = self._clock.now()
    self._robot.command_pose(target)
    times = {
      'command_time': self._commanded,
      'acknowledgement_time': self._clock.now(),
    }
    self._command_gripper(gripper * action[6])
    return times

  def _command_gripper(self, asked: float) -> None:
    """Opens or closes the gripper where it is not yet, and waits for it."""
    # A command that fails leaves nobody knowing what it is.
    if asked <= _CLOSES and self._closed is not True:
      self._closed = None
      self._robot.close_gripper()
      self._closed = True
    elif asked >= _OPENS and self._closed is not False:
      self._closed = None
      self._robot.open_gripper()
      self._closed = False
    else:
      return
    # The schedule waits with it: the step is longer, not late.
    self._deadline += self._config.gripper_seconds

  def _wait(self) -> bool:
    """Returns at the end of the step, and whether that was too late."""
    self._deadline += self._period
    now = self._clock.now()
    if now <= self._deadline:
      self._clock.sleep_until(self._deadline)
      return False
    if now > self._deadline + self._period:
      # Else a stall would be followed by a rush. The action gets its time.
      self._deadline = max(now, self._commanded + self._period)
      self._clock.sleep_until(self._deadline)
    return True

  def _observe(self) -> tuple[protocol.State, dict[str, np.ndarray]]:
    """Returns the newest state and pictures, and as what they are observed."""
    self._dates = {'capture_time': self._clock.now()}
    state = robot_lib.read_fresh(
      self._robot, self._clock, self._config.max_state_age
    )
    self._dates['state_time'] = state.time
    observation = {
      'tcp_pose': state.pose,
      'tcp_vel': state.vel,
      'tcp_force': state.force,
      'tcp_torque': state.torque,
      'gripper_pose': np.array([state.gripper_pos]),
    }
    for name, array in observation.items():
      if not np.isfinite(array).all():
        raise robot_lib.RobotError(
          f'The arm reports {name}={array}; expected finite numbers.'
        )
      observation[name] = array.astype(np.float32)
    return state, observation | self._look()

  def _look(self, since: float = -np.inf) -> dict[str, np.ndarray]:
    """Returns the cameras' pictures, waiting for such after `since`, s."""
    frames = {
      name: self._see(name, camera, since)
      for name, camera in self._cameras.items()
    }
    if frames:
      self._dates['frame_time'] = min(frame.time for frame in frames.values())
    return {name: frame.image for name, frame in frames.items()}

  def _see(
    self, name: str, camera: cameras_lib.Camera, since: float
  ) -> cameras_lib.Frame:
    while True:
      now, frame = self._clock.now(), camera.read()
      age = now - frame.time
      if age > self._config.max_camera_age:
        raise cameras_lib.CameraError(
          f'The last picture of the camera {name!r} is {age:.2f} s old; '
          f'expected at most {self._config.max_camera_age} s.'
        )
      # Whatever one waits for comes before that one is too old.
      if frame.time > since:
        break
      self._clock.sleep_until(now + _POLL_S)
    spec = self._observation_spec[name]
    if frame.image.shape != spec.shape or frame.image.dtype != spec.dtype:
      raise ValueError(
        f'The camera {name!r} gives {frame.image.dtype} '
        f'{frame.image.shape}; expected {spec.dtype} {spec.shape}.'
      )
    return frame

  def _tell_success(self) -> dict[str, float]:
    if self._config.threshold is None:
      return {}
    return {'success': float(self._success)}

  def _is_successful(self, pose: np.ndarray) -> bool:
    config = self._config
    return config.threshold is not None and poses.is_near(
      pose,
      config.target,
      config.threshold,
      config.threshold_on_absolute_angles,
    )

  def _move_to_start(self) -> None:
    every = self._config.joint_reset_every
    resets_joints = bool(every) and self._episodes >= every
    if self._config.opens_at_reset:
      self._closed = False
    resets.move_to_start(
      self._config, self._robot, self._clock, self._draw_start(), resets_joints
    )
    # Only now: a reset of the joints that failed is still due.
    self._episodes = 1 if resets_joints else self._episodes + 1

  def _draw_start(self) -> np.ndarray:
    """Returns the pose, [7], in which the next episode begins."""
    config = self._config
    start = np.array(config.reset)
    start[:2] += self._rng.uniform(-config.random_xy, config.random_xy, 2)
    start[5] += self._rng.uniform(-config.random_yaw, config.random_yaw)
    return poses.from_euler(start)

  def _drop(self) -> None:
    """Ends the episode, which a fault spoils."""
    self._running = False
    self._hold()

  def _hold(self) -> None:
    """Has the arm stay where it is, as far as it still listens."""
    try:
      self._robot.command_pose(self._robot.read_state().pose)
    except core.FaultError as error:
      # Its server holds an arm that gets no commands.
      logging.warning('The arm could not be told to stay: %s', error)


def _observation_spec(
  config: config_lib.Config,
) -> dict[str, specs.BoundedArray]:
  low = np.subtract(config.pose_low[:3], _POSITION_MARGIN)
  high = np.add(config.pose_high[:3], _POSITION_MARGIN)
  speed = np.repeat((_LINEAR_SPEED, _ANGULAR_SPEED), 3)
  lowest, highest = sorted(config.gripper_range)
  bounds = (
    (np.append(low, [-1.0] * 4), np.append(high, [1.0] * 4)),
    (-speed, speed),
    (np.full(3, -_FORCE), np.full(3, _FORCE)),
    (np.full(3, -_TORQUE), np.full(3, _TORQUE)),
    (np.array([lowest]), np.array([highest])),
  )
  spec = specs.bounded(dict(zip(config_lib.OBSERVED, bounds, strict=True)))
  size = config.image_size
  for camera in config.cameras:
    spec[camera.name] = specs.BoundedArray(
      (size, size, 3), np.uint8, 0, 255, name=camera.name
    )
  return spec
