"""The real arm's environment on a twin, whatever scene stands around it."""

import contextlib

import dm_env
import mujoco
import numpy as np

from robot_server import limits
from robot_server import protocol
from robot_server import testing as robot_server_testing
from serl import specs
from serl.environments.franka import assembly
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment
from serl.environments.franka import robot as robot_lib
from serl.environments.sim import opengl
from serl.environments.sim import rendering
from serl.environments.sim import twin as twin_lib
from serl.environments.sim import wrist_cameras

_PATIENCE_S = 10.0  # of real time, until the server answers


class Scene:
  """What stands around a twin's arm, and whether the task there is done."""

  def __init__(self, twin: twin_lib.Twin, task: config_lib.Config):
    """Takes the twin of the scene's model and what is asked in it."""
    self.twin = twin
    self.task = task

  @property
  def tool_pose(self) -> np.ndarray:
    """The tool's present pose, [7], m and xyzw, base frame, as measured."""
    return self.twin.read_state().pose

  def begin_episode(self, rng: np.random.Generator) -> None:
    """Does what a person does before an episode; by default nothing.

    It may change `task`. The arm moves to its reset pose afterwards.
    """

  def is_successful(self) -> bool:
    """Returns whether the task is done, as the simulation knows it."""
    raise NotImplementedError

  def is_unclear(self) -> bool:
    """Returns whether a person could doubt what `is_successful` says."""
    return False

  def episode_metrics(self) -> dict[str, float]:
    """Returns what there is to report of the episode beside its success."""
    return {}

  def observation_spec(self) -> dict[str, specs.BoundedArray]:
    """Returns what the simulation tells beside an arm's own observations.

    Policies without cameras need it where the task is not always the same.
    """
    return {}

  def observe(self) -> dict[str, np.ndarray]:
    """Returns that of the present; see `observation_spec`."""
    return {}


class TwinEnvironment(environment.FrankaEnvironment):
  """The real task's environment on the twin, in this process.

  What is simulated is the arm and the cameras: the resets take their time, and
  with `http` a server with its limits is between them. On a stepped clock it
  runs as fast as it can, and without the server equal seeds and actions give
  equal episodes, bit for bit.

  Where the task has no threshold the scene tells whether it is done. That is
  the 'success' of `step_extras` and `episode_metrics` in any case, to score by;
  with `rewards=False` it is no reward and ends nothing: a learned reward does.
  The extra 'unclear' tells which steps are no examples to learn one from.
  """

  def __init__(
    self,
    scene: Scene,
    seed: int = 0,
    http: bool | str = False,
    rewards: bool = True,
    tells: bool = True,
  ):
    """Creates the environment.

    Args:
      scene: with its twin.
      seed: of where episodes begin and of what the scene draws.
      http: whether the arm is reached by a server, in threads of this process.
        Slower: every step is a request. Or the address of one that serves the
        twin already.
      rewards: whether success is the reward, and the end of an episode.
      tells: whether what the scene tells is observed.
    """
    self.scene = scene
    self._rewards = rewards
    self._tells = tells
    self._scene_rng = np.random.default_rng((seed, 1))
    self._renderers = rendering.Renderers(scene.twin.model)
    twin, task = scene.twin, scene.task
    if task.cameras:
      opengl.check_variables()
    cameras = {
      camera.name: wrist_cameras.WristCamera(
        twin, camera.name, task.image_size, task.image_size
      )
      for camera in task.cameras
    }
    self._server = contextlib.ExitStack()
    if http is True:
      http = self._server.enter_context(
        robot_server_testing.serving(twin, limits.Limits())
      )
    self.url = http
    robot = robot_lib.LocalRobot(twin)
    if http:
      # Its time is not the machine's, which may be busy.
      robot = client.HttpRobot(
        http,
        now=twin.now,
        patience=_PATIENCE_S,
        name=client.process_name(),
      )
    super().__init__(task, robot, cameras, twin.clock, seed)
    self._done = False  # as the scene knows it
    if tells:
      self._observation_spec |= scene.observation_spec()

  def reset(self) -> dm_env.TimeStep:
    """Begins the next episode, after what a person does in the scene."""
    self._done = False
    self.scene.begin_episode(self._scene_rng)
    self._config = self.scene.task
    return super().reset()

  def step_extras(self) -> dict[str, np.generic]:
    return {
      **super().step_extras(),
      'success': np.uint8(self._done),
      'unclear': np.uint8(self.scene.is_unclear()),
    }

  def episode_metrics(self) -> dict[str, float]:
    return {
      **super().episode_metrics(),
      **self.scene.episode_metrics(),
      'success': float(self._done),
    }

  def _is_successful(self, pose: np.ndarray) -> bool:
    self._done = self.scene.is_successful()
    return self._done and self._rewards

  def _observe(self) -> tuple[protocol.State, dict[str, np.ndarray]]:
    state, observation = super()._observe()
    if self._tells:
      observation |= self.scene.observe()
    return state, observation

  @property
  def real_time(self) -> bool:
    return isinstance(self.scene.twin.clock, robot_lib.RealTimeClock)

  @property
  def model(self) -> mujoco.MjModel:
    """The compiled model, for viewers."""
    return self.scene.twin.model

  @property
  def data(self) -> mujoco.MjData:
    """The state of the simulation, for viewers."""
    return self.scene.twin.data

  def render(
    self, camera: str = 'picture', height: int = 480, width: int = 640
  ) -> np.ndarray:
    """Returns a picture of the present state, [height, width, 3] uint8."""
    return self._renderers.render(self.data, camera, height, width)

  def close(self) -> None:
    """Lets go of the arm and the cameras, and frees the renderers."""
    super().close()
    self._server.close()
    self._renderers.close()


def make(
  scene: Scene,
  seed: int = 0,
  http: bool | str = False,
  rewards: bool = True,
  state: bool | None = None,
) -> dm_env.Environment:
  """Returns the task on the twin, as a policy sees it.

  A policy of images acts as on the real arm: observations and actions are in
  the frames of the tool and of the episode's first pose, and what the task is
  about is where the pictures show it. A policy of the state is in the base
  frame, and observes what the scene tells.

  Args:
    scene: with its twin.
    seed: of where episodes begin and of what the scene draws.
    http: see `TwinEnvironment`.
    rewards: see `TwinEnvironment`.
    state: whether it is for a policy of the state, who may have cameras all the
      same, for its reward; by default where there are none.
  """
  task = scene.task
  if state is None:
    state = not task.cameras
  made = TwinEnvironment(scene, seed, http, rewards, tells=state)
  if not state:
    return assembly.wrap(made, task)
  return assembly.wrap_gripper(made, task)
