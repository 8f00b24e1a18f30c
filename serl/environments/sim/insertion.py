"""Insertions on the twin: a part in the gripper, and a board with its hole.

The part is fixed in the gripper, and the board stands where the target pose of
the task is the pose of the tool with the part inserted.
"""

import dataclasses
from typing import Annotated, Any

import dm_env
import mujoco
import numpy as np
from scipy.spatial import transform

from serl import configs
from serl.environments.franka import config as config_lib
from serl.environments.franka import poses
from serl.environments.franka.tasks import pcb_insert
from serl.environments.franka.tasks import peg_insert
from serl.environments.sim import arm as arm_lib
from serl.environments.sim import mounted_scene
from serl.environments.sim import scene
from serl.environments.sim import twin as twin_lib
from serl.environments.sim import twin_environment
from serl.environments.sim import wrist_cameras

_BOARD_WIDTH = 0.14  # m
_FRICTION = (0.3, 0.005, 0.0001)
_Length = Annotated[float, configs.Bounds(0, 1, '(]')]  # m


@dataclasses.dataclass(frozen=True)
class Part:
  """What is inserted: an upright box, in m."""

  size: tuple[_Length, _Length, _Length]  # along the tool's x, y and z
  reach: _Length  # from the tool's centre point to the part's tip, along z
  depth: _Length  # of the inserted part's tip below the board's face
  floor_gap: _Length  # below that tip: the target is reached without pressing
  mass: Annotated[float, configs.Bounds(0, 100, '(]')] = 0.05  # kg
  colour: configs.Colour = (0.80, 0.20, 0.16, 1.0)
  board_colour: configs.Colour = (0.30, 0.55, 0.35, 1.0)

  __post_init__ = configs.check


SQUARE_PEG = Part((0.02, 0.02, 0.06), reach=0.05, depth=0.03, floor_gap=0.002)
# A plug on a circuit board, and its socket.
PLUG = Part(
  (0.024, 0.008, 0.04),
  reach=0.03,
  depth=0.01,
  floor_gap=0.0005,
  mass=0.02,
  colour=(0.90, 0.85, 0.70, 1.0),
  board_colour=(0.10, 0.30, 0.18, 1.0),
)


@dataclasses.dataclass(frozen=True)
class Config:
  """The constants of the scene."""

  part: Part
  # Where the board is mounted, and what is asked there.
  task: config_lib.Config
  clearance: _Length  # m between part and hole on each side
  # How far the board moves from there between the episodes: along x and y, m,
  # and about the upright through the target, rad, either way.
  board_xy: configs.NonNegative = 0.0
  board_yaw: configs.NonNegative = 0.0
  physics_timestep: twin_lib.Timestep = 0.002  # s
  twin: twin_lib.Config = dataclasses.field(
    # The fingers hold the part from the start.
    default_factory=lambda: twin_lib.Config(start_closing=1.0)
  )

  __post_init__ = configs.check


PEG = Config(SQUARE_PEG, peg_insert.STATE, clearance=0.0005)
PCB = Config(PLUG, pcb_insert.STATE, clearance=0.0002)


def make_model(config: Config) -> mujoco.MjModel:
  """Returns the twin's arm with cameras, the part it holds, and the board."""
  spec = twin_lib.make_spec(config.physics_timestep)
  wrist_cameras.add(spec)
  _add_part(spec, config.part)
  _add_board(spec, config)
  # People see a hole from nearby only.
  x, y, z = config.task.target[:3]
  picture = spec.camera('picture')
  picture.pos = (x + 0.27, y + 0.26, z + 0.17)
  picture.alt.xyaxes = (-0.69, 0.72, 0.0, -0.29, -0.28, 0.915)
  return spec.compile()


def _add_part(spec: mujoco.MjSpec, part: Part) -> None:
  length = part.size[2]
  body = spec.body(arm_lib.GRIPPER_BASE).add_body(
    name='part',
    pos=(0.0, 0.0, arm_lib.TCP_HEIGHT + part.reach - length / 2),
    gravcomp=1,
  )
  body.add_geom(
    name='part',
    type=mujoco.mjtGeom.mjGEOM_BOX,
    size=np.divide(part.size, 2),
    mass=part.mass,
    rgba=part.colour,
    friction=_FRICTION,
    conaffinity=0,  # a part of the arm
    **scene.CONTACT,
  )
  # The fingers close along y.
  arm_lib.stop_fingers(spec, part.size[1])


def _add_board(spec: mujoco.MjSpec, config: Config) -> None:
  """Adds the board; its origin is the inserted part's tip, its z the hole's."""
  part = config.part
  position, quaternion = _board_pose(config.task, part)
  board = spec.worldbody.add_body(
    name='board', mocap=True, pos=position, quat=quaternion
  )
  hole_x, hole_y = np.divide(part.size[:2], 2) + config.clearance
  # Half of what is beside the hole.
  wall_x, wall_y = (_BOARD_WIDTH / 2 - np.array((hole_x, hole_y))) / 2
  half_depth = (part.depth + part.floor_gap) / 2
  middle = (part.depth - part.floor_gap) / 2
  half_width = _BOARD_WIDTH / 2
  plinth = (position[2] - part.floor_gap) / 2  # down to the table
  for name, centre, size in (
    ('east', (hole_x + wall_x, 0, middle), (wall_x, half_width, half_depth)),
    ('west', (-hole_x - wall_x, 0, middle), (wall_x, half_width, half_depth)),
    ('north', (0, hole_y + wall_y, middle), (hole_x, wall_y, half_depth)),
    ('south', (0, -hole_y - wall_y, middle), (hole_x, wall_y, half_depth)),
    (
      'floor',
      (0, 0, -part.floor_gap - plinth),
      (half_width, half_width, plinth),
    ),
  ):
    board.add_geom(
      name=f'board_{name}',
      type=mujoco.mjtGeom.mjGEOM_BOX,
      pos=centre,
      size=size,
      # The cameras shall see the hole.
      rgba=(0.1, 0.1, 0.1, 1.0) if name == 'floor' else part.board_colour,
      friction=_FRICTION,
      **scene.CONTACT,
    )


def _board_pose(
  task: config_lib.Config, part: Part
) -> tuple[np.ndarray, np.ndarray]:
  """Returns where the board is, [3], and how it is turned, [4] wxyz.

  Its z points up, the tool's down.
  """
  pose = poses.from_euler(task.target)
  tool = transform.Rotation.from_quat(pose[3:])
  tip = pose[:3] + tool.apply((0.0, 0.0, part.reach))
  x, y, z, w = (tool * transform.Rotation.from_euler('x', np.pi)).as_quat()
  return tip, np.array((w, x, y, z))


class Insertion(mounted_scene.MountedScene):
  """The scene with its twin: where the board is and whether the part is in it.

  The part is fixed in the gripper: opening it does not drop the part.
  """

  def __init__(self, config: Config = PEG, real_time: bool = False):
    """Creates the scene, the board where it is mounted.

    Args:
      config: its constants.
      real_time: whether the twin's clock is the machine's, else it is stepped.

    Raises:
      ValueError: if the clearance is not positive.
    """
    twin = twin_lib.Twin(make_model(config), config.twin, real_time)
    super().__init__(
      twin, config.task, 'board', config.board_xy, config.board_yaw
    )
    self._config = config

  @property
  def part(self) -> Part:
    """What is inserted."""
    return self._config.part

  def mount_pose(
    self, task: config_lib.Config
  ) -> tuple[np.ndarray, np.ndarray]:
    return _board_pose(task, self._config.part)

  def is_successful(self) -> bool:
    """Returns whether the tool is at the target, as near as the task asks."""
    return poses.is_near(
      self.twin.read_state().pose,
      self.task.target,
      self.task.threshold,
      self.task.threshold_on_absolute_angles,
    )


def make(
  seed: int = 0, config: Config = PEG, **kwargs: Any
) -> dm_env.Environment:
  """Returns an insertion on the twin, as a policy sees it.

  Where the hole is must be learned: without cameras it is not observed, so that
  the board must not move.

  Args:
    seed: of where episodes begin and where the board is.
    config: of the scene.
    **kwargs: of `twin_environment.make`.
  """
  return twin_environment.make(Insertion(config), seed, **kwargs)
