"""Peg insertion on the twin: what the real task is about, simulated.

A square peg is fixed in the gripper, and a board with a hole stands where the
target pose of the task is the pose of the tool with the peg inserted.
"""

from collections.abc import Sequence
import contextlib
import dataclasses

import dm_env
import mujoco
import numpy as np
from scipy.spatial import transform

from robot_server import limits
from robot_server import testing as robot_server_testing
from serl.environments.franka import assembly
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment
from serl.environments.franka import poses
from serl.environments.franka import robot as robot_lib
from serl.environments.franka.tasks import peg_insert as tasks_peg_insert
from serl.environments.sim import arm as arm_lib
from serl.environments.sim import rendering
from serl.environments.sim import scene
from serl.environments.sim import twin as twin_lib
from serl.environments.sim import wrist_cameras
from serl.environments.wrappers import gripper_closed

# From the tool's centre point to the peg's tip, m, along the tool's z.
PEG_REACH = 0.05
_PEG_WIDTH = 0.02  # m
_PEG_LENGTH = 0.06  # m
_PEG_MASS = 0.05  # kg
HOLE_DEPTH = 0.03  # m, of the inserted peg's tip below the board's face
_FLOOR_GAP = 0.002  # m below the tip: the target is reached without pressing
_BOARD_WIDTH = 0.14  # m
_FRICTION = (0.3, 0.005, 0.0001)
# How far the fingers close on the peg, rad: the gripper opens 85 mm wide.
_FINGERS_ON_PEG = 0.8 * (1 - _PEG_WIDTH / 0.085)


@dataclasses.dataclass(frozen=True)
class Config:
  """The constants of the scene."""

  clearance: float = 0.0005  # m between peg and hole on each side
  # Where the board is mounted, and what is asked there.
  task: config_lib.Config = tasks_peg_insert.STATE
  # How far the board moves from there between the episodes: along x and y, m,
  # and about the upright through the target, rad, either way.
  board_xy: float = 0.0
  board_yaw: float = 0.0
  physics_timestep: float = 0.002  # s
  # Whether the twin stands behind a robot server, as the real arm does, in
  # threads of this process. Slower: every step is a request.
  http: bool = False
  twin: twin_lib.Config = dataclasses.field(
    # The fingers hold the peg from the start.
    default_factory=lambda: twin_lib.Config(start_closing=1.0)
  )


VISION = Config(task=tasks_peg_insert.VISION)


def make_model(config: Config) -> mujoco.MjModel:
  """Returns the twin's arm with cameras, the peg in its gripper, and the board.

  Raises:
    ValueError: if the clearance is not positive.
  """
  if not config.clearance > 0:
    raise ValueError(
      f'clearance={config.clearance}; expected metres, more than 0.'
    )
  spec = twin_lib.make_spec(config.physics_timestep)
  wrist_cameras.add(spec)
  _add_peg(spec)
  _add_board(spec, config)
  return spec.compile()


def _add_peg(spec: mujoco.MjSpec) -> None:
  peg = spec.body(arm_lib.GRIPPER_BASE).add_body(
    name='peg',
    pos=(0.0, 0.0, arm_lib.TCP_HEIGHT + PEG_REACH - _PEG_LENGTH / 2),
    gravcomp=1,
  )
  peg.add_geom(
    name='peg',
    type=mujoco.mjtGeom.mjGEOM_BOX,
    size=(_PEG_WIDTH / 2, _PEG_WIDTH / 2, _PEG_LENGTH / 2),
    mass=_PEG_MASS,
    rgba=(0.80, 0.20, 0.16, 1.0),
    friction=_FRICTION,
    conaffinity=0,  # a part of the arm
    **scene.CONTACT,
  )
  for finger in arm_lib.FINGERS:
    spec.joint(finger).range = (0.0, _FINGERS_ON_PEG)


def _add_board(spec: mujoco.MjSpec, config: Config) -> None:
  """Adds the board; its origin is the inserted peg's tip, its z the hole's."""
  position, quaternion = _board_pose(config.task.target)
  board = spec.worldbody.add_body(
    name='board', mocap=True, pos=position, quat=quaternion
  )
  hole = _PEG_WIDTH / 2 + config.clearance
  wall = (_BOARD_WIDTH / 2 - hole) / 2  # half of what is beside the hole
  half_depth = (HOLE_DEPTH + _FLOOR_GAP) / 2
  middle = (HOLE_DEPTH - _FLOOR_GAP) / 2
  half_width = _BOARD_WIDTH / 2
  plinth = (position[2] - _FLOOR_GAP) / 2  # down to the table
  board_colour = (0.30, 0.55, 0.35, 1.0)
  for name, centre, size in (
    ('board_east', (hole + wall, 0, middle), (wall, half_width, half_depth)),
    ('board_west', (-hole - wall, 0, middle), (wall, half_width, half_depth)),
    ('board_north', (0, hole + wall, middle), (hole, wall, half_depth)),
    ('board_south', (0, -hole - wall, middle), (hole, wall, half_depth)),
    (
      'board_floor',
      (0, 0, -_FLOOR_GAP - plinth),
      (half_width, half_width, plinth),
    ),
  ):
    board.add_geom(
      name=name,
      type=mujoco.mjtGeom.mjGEOM_BOX,
      pos=centre,
      size=size,
      # The cameras shall see the hole.
      rgba=(0.1, 0.1, 0.1, 1.0) if name == 'board_floor' else board_colour,
      friction=_FRICTION,
      **scene.CONTACT,
    )


def _board_pose(target: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
  """Returns where the board is, [3], and how it is turned, [4] wxyz.

  Args:
    target: [6], the Euler pose of the tool with the peg inserted.
  """
  pose = poses.from_euler(target)
  tool = transform.Rotation.from_quat(pose[3:])
  tip = pose[:3] + tool.apply((0.0, 0.0, PEG_REACH))
  # The board's z points up, the tool's down.
  x, y, z, w = (tool * transform.Rotation.from_euler('x', np.pi)).as_quat()
  return tip, np.array((w, x, y, z))


class PegInsert:
  """The scene with its twin: where the board is and whether the peg is in it.

  The peg is fixed in the gripper: opening it does not drop the peg.
  """

  def __init__(self, config: Config = Config(), real_time: bool = False):
    """Creates the scene, the board where it is mounted.

    Args:
      config: its constants.
      real_time: whether the twin's clock is the machine's, else it is stepped.

    Raises:
      ValueError: if the clearance is not positive.
    """
    self._config = config
    self.twin = twin_lib.Twin(make_model(config), config.twin, real_time)
    self._mocap = self.twin.model.body('board').mocapid[0]
    self.task = config.task

  @property
  def target(self) -> np.ndarray:
    """The tool's pose with the peg inserted, [7], m and xyzw, base frame."""
    return poses.from_euler(self.task.target)

  def restart(self, rng: np.random.Generator) -> None:
    """Puts the arm at its reset posture and the board anywhere in its range.

    `task` is then the one with the target where the board is.
    """
    config = self._config
    offset = np.zeros(6)
    offset[:2] = rng.uniform(-config.board_xy, config.board_xy, 2)
    offset[5] = rng.uniform(-config.board_yaw, config.board_yaw)
    # About the upright, the Euler angles of a turned pose differ in the last.
    self.task = dataclasses.replace(
      config.task,
      **{
        name: tuple(np.add(getattr(config.task, name), offset).tolist())
        for name in ('target', 'reset', 'pose_low', 'pose_high')
      },
    )
    position, quaternion = _board_pose(self.task.target)
    with self.twin.lock:
      self.twin.restart()
      self.twin.data.mocap_pos[self._mocap] = position
      self.twin.data.mocap_quat[self._mocap] = quaternion

  def is_inserted(self) -> bool:
    """Returns whether the tool is at the target, as near as the task asks."""
    return poses.is_near(
      self.twin.read_state().pose, self.task.target, self.task.threshold
    )


class PegInsertEnvironment(environment.FrankaEnvironment):
  """The real task's environment on the twin, in this process.

  What is simulated is the arm and the cameras: the resets take their time, and
  with `Config.http` a server with its limits is between them. On a stepped
  clock it runs as fast as it can, and without the server equal seeds and
  actions give equal episodes, bit for bit.
  """

  def __init__(self, seed: int = 0, config: Config = Config()):
    """Creates the environment.

    Args:
      seed: of where episodes begin and where the board is.
      config: of the scene.
    """
    self.scene = PegInsert(config)
    twin, task = self.scene.twin, config.task
    self._moves_board = config.board_xy > 0 or config.board_yaw > 0
    self._board_rng = np.random.default_rng((seed, 1))
    self._renderers: dict[tuple[int, int], rendering.Renderer] = {}
    cameras = {
      camera.name: wrist_cameras.WristCamera(
        twin, camera.name, task.image_size, task.image_size
      )
      for camera in task.cameras
    }
    self._server = contextlib.ExitStack()
    robot = robot_lib.LocalRobot(twin)
    if config.http:
      url = self._server.enter_context(
        robot_server_testing.serving(twin, limits.Limits())
      )
      robot = client.HttpRobot(url, now=twin.now)
    super().__init__(task, robot, cameras, twin.clock, seed)

  def reset(self) -> dm_env.TimeStep:
    """Begins the next episode, where the board moves with a twin put back."""
    if self._moves_board:
      # The real board is moved by a person, once the peg is out of it.
      self.scene.restart(self._board_rng)
      self._config = self.scene.task
    return super().reset()

  @property
  def target(self) -> np.ndarray:
    """The tool's pose with the peg inserted, [7]: what experts go by."""
    return self.scene.target

  @property
  def tool_pose(self) -> np.ndarray:
    """The tool's present pose, [7], likewise, as it is measured."""
    return self.scene.twin.read_state().pose

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
    size = (height, width)
    if size not in self._renderers:
      self._renderers[size] = rendering.Renderer(self.model, height, width)
    return self._renderers[size].render(self.data, camera)

  def close(self) -> None:
    """Lets go of the arm and the cameras, and frees the renderers."""
    super().close()
    self._server.close()
    while self._renderers:
      self._renderers.popitem()[1].close()


def make(seed: int = 0, config: Config = Config()) -> dm_env.Environment:
  """Returns the peg insertion on the twin, the gripper closed for good.

  Observations and actions are in the base frame. Where the hole is must be
  learned: it is not observed, so that without cameras the board must not move.

  Args:
    seed: of where episodes begin and where the board is.
    config: of the scene.
  """
  return gripper_closed.GripperClosed(PegInsertEnvironment(seed, config))


def make_vision(seed: int = 0, config: Config = VISION) -> dm_env.Environment:
  """Returns the same with the wrist cameras, as policies see the real arm.

  Observations and actions are in the frames of the tool and of the episode's
  first pose: the hole is where the pictures show it.

  Args:
    seed: of where episodes begin and where the board is.
    config: of the scene.

  Raises:
    ValueError: if the config's task names no cameras.
  """
  if not config.task.cameras:
    raise ValueError(
      f'cameras={config.task.cameras}; expected some: begin with `VISION`.'
    )
  return assembly.wrap(PegInsertEnvironment(seed, config), config.task)
