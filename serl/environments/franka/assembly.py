"""The environment of a config, put together for a policy."""

from collections.abc import Mapping
import contextlib

from absl import logging
import dm_env

from serl import specs
from serl import types
from serl.environments.franka import cameras as cameras_lib
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.wrappers import gripper_closed
from serl.environments.wrappers import gripper_penalty
from serl.environments.wrappers import quat_to_euler
from serl.environments.wrappers import relative_frame


def make(
  config: config_lib.Config, token: str | None = None, seed: int = 0
) -> dm_env.Environment:
  """Returns the task on the real arm, as a policy sees it.

  The calling thread, which should be the one to step it, gets precedence where
  that is allowed.

  Args:
    config: of the task; its server and its cameras are opened.
    token: that the server demands.
    seed: of the poses in which episodes begin.

  Raises:
    CameraError: a camera is not there.
  """
  return make_several({'': config}, token, seed)['']


def make_several(
  configs: Mapping[str, config_lib.Config],
  token: str | None = None,
  seed: int = 0,
) -> dict[str, dm_env.Environment]:
  """Returns several tasks on one arm with its cameras, see `make`.

  Only one of them may act at a time, and none after one was closed: they share
  the cameras.

  Args:
    configs: by the names of the tasks, with the same server and cameras.
    token: that the server demands.
    seed: of the poses in which episodes begin.

  Raises:
    CameraError: a camera is not there.
    ValueError: the servers or the cameras differ.
  """
  # The twin, which is wrapped here too, needs no HTTP.
  from serl.environments.franka import client

  first = next(iter(configs.values()))
  for name, config in configs.items():
    if (config.url, config.cameras) != (first.url, first.cameras):
      raise ValueError(
        f'The task {name!r} has the server {config.url} and the cameras '
        f'{config.cameras}; expected {first.url} and {first.cameras}, as the '
        'first has: they share the arm.'
      )
  if not robot_lib.take_precedence():
    logging.warning(
      'This user may not give the control loop precedence, so that steps will '
      'be late when the machine has much to do. Let `ulimit -e` be 30: a line '
      '"USER - nice -10" in /etc/security/limits.conf, and a new login.'
    )
  clock = robot_lib.RealTimeClock()
  made = {}
  with contextlib.ExitStack() as stack:
    cameras = open_cameras(first)
    for camera in cameras.values():
      stack.callback(camera.close)
    for name, config in configs.items():
      # Each its own connection, over which it holds the arm when it is closed.
      robot = client.HttpRobot(
        config.url, token, clock.now, name=client.process_name()
      )
      environment = environment_lib.FrankaEnvironment(
        config, robot, cameras, clock, seed
      )
      made[name] = wrap(environment, config)
    stack.pop_all()
  return made


def make_spec(config: config_lib.Config) -> specs.EnvironmentSpec:
  """Returns the spec of what `make` returns, without an arm or a camera.

  Of a run's processes only the actor's can have them.
  """
  cameras = {camera.name: None for camera in config.cameras}
  environment = environment_lib.FrankaEnvironment(config, None, cameras, None)
  return specs.make_environment_spec(wrap(environment, config))


def wrap(
  environment: dm_env.Environment, config: config_lib.Config
) -> dm_env.Environment:
  """Returns an environment with the frames and actions that policies use.

  Args:
    environment: a `FrankaEnvironment`, or one around it.
    config: of the task.
  """
  environment = wrap_gripper(environment, config)
  environment = relative_frame.RelativeFrame(environment, config.lever)
  return quat_to_euler.QuatToEuler(environment)


def wrap_gripper(
  environment: dm_env.Environment, config: config_lib.Config
) -> dm_env.Environment:
  """Returns an environment whose gripper is out of the actions, or has a cost.

  Args:
    environment: a `FrankaEnvironment`, or one around it.
    config: of the task.
  """
  if not config.uses_gripper:
    return gripper_closed.GripperClosed(environment)
  if not config.gripper_penalty:
    return environment
  return gripper_penalty.GripperPenalty(
    environment,
    config.gripper_penalty,
    closing=-0.5 / config.action_scale[2],
    is_closed=lambda observation: _is_closed(observation, config),
  )


def open_cameras(
  config: config_lib.Config,
) -> Mapping[str, cameras_lib.Camera]:
  """Opens the cameras of a config, all or none.

  Raises:
    CameraError: one is not there.
  """
  with contextlib.ExitStack() as stack:
    opened = {}
    for camera in config.cameras:
      opened[camera.name] = open_camera(camera, config.image_size)
      stack.callback(opened[camera.name].close)
    stack.pop_all()
    return opened


def open_camera(
  config: config_lib.CameraConfig, size: int
) -> cameras_lib.Camera:
  """Opens one camera.

  Args:
    config: of the camera.
    size: height and width of what is observed, pixels.

  Raises:
    CameraError: it is not there.
  """
  # Only who has cameras needs their libraries, which are heavy.
  from serl.environments.franka import capture

  if config.kind == 'opencv':
    return capture.Capture(lambda: capture.VideoDevice(config), config, size)
  from serl.environments.franka import realsense

  return capture.Capture(lambda: realsense.RealSense(config), config, size)


def _is_closed(
  observation: types.NestedArray, config: config_lib.Config
) -> bool:
  """Returns whether the gripper is nearer to closed than to open."""
  opened, closed = config.gripper_range
  position = observation['gripper_pose'][0]
  return bool(abs(position - closed) <= abs(position - opened))
