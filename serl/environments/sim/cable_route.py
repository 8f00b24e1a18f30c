"""Cable routing on the twin: a cable in the gripper, and a clip on a board.

One end of the cable is fixed in the gripper and the rest hangs out of it along
the tool's x axis. The clip stands where the target pose of the task is the pose
of the tool with the cable in the clip.
"""

import dataclasses
import itertools
import math
from typing import Annotated, Any

import dm_env
import mujoco
import numpy as np
from scipy.spatial import transform

from serl import configs
from serl.environments.franka import config as config_lib
from serl.environments.franka import poses
from serl.environments.franka.tasks import cable_route
from serl.environments.sim import arm as arm_lib
from serl.environments.sim import mounted_scene
from serl.environments.sim import scene
from serl.environments.sim import twin as twin_lib
from serl.environments.sim import twin_environment
from serl.environments.sim import wrist_cameras

_FRICTION = (0.3, 0.005, 0.0001)
_Length = Annotated[float, configs.Bounds(0, 1, '(]')]  # m
_HELD = 0.015  # m of the cable either side of the tool that the fingers hold


@dataclasses.dataclass(frozen=True)
class Cable:
  """A chain of capsules with ball joints between them."""

  radius: _Length = 0.004  # m
  length: _Length = 0.12  # m that hangs out of the fingers
  links: Annotated[int, configs.Bounds(1, 100)] = 6
  density: configs.Positive = 1200.0  # kg/m^3
  bending_stiffness: configs.NonNegative = 7e-4  # N m^2
  damping: configs.NonNegative = 5e-4  # N m s/rad, of a joint
  colour: configs.Colour = (0.95, 0.45, 0.05, 1.0)

  __post_init__ = configs.check


@dataclasses.dataclass(frozen=True)
class Clip:
  """Two walls with the slot between them, and lips that lead into it, in m.

  Its heights are above the table.
  """

  distance: _Length = 0.045  # from the tool at the target to the clip's centre
  length: _Length = 0.024  # of the slot
  gap: _Length = 0.012  # the slot's width
  wall: _Length = 0.005  # the walls' thickness
  board: _Length = 0.004  # the board's height
  floor: _Length = 0.01  # the height of the slot's floor
  mouth: _Length = 0.034  # the height where the slot begins, under the lips
  lip: _Length = 0.014  # the lips' width; they lean outwards by 45 degrees
  colour: configs.Colour = (0.15, 0.35, 0.75, 1.0)

  __post_init__ = configs.check


@dataclasses.dataclass(frozen=True)
class Config:
  """The constants of the scene."""

  # Where the clip is mounted, and what is asked there.
  task: config_lib.Config = cable_route.STATE
  cable: Cable = Cable()
  clip: Clip = Clip()
  # How far the clip moves from there between the episodes: along x and y, m,
  # and about the upright through the target, rad, either way.
  clip_xy: configs.NonNegative = 0.0
  clip_yaw: configs.NonNegative = 0.0
  # How far below the mouth the cable must be for its success to be clear, m.
  # What lies between is no example for a classifier: one that is told to take
  # it for a success takes a cable that is about to enter for one, too.
  margin: configs.NonNegative = 0.003
  physics_timestep: twin_lib.Timestep = 0.002  # s
  twin: twin_lib.Config = dataclasses.field(
    # The fingers hold the cable from the start, turned as in the task.
    default_factory=lambda: twin_lib.Config(
      reset_joints=(0.0, 0.0, 0.0, -1.9, 0.0, 2.0, -math.pi / 4),
      start_closing=1.0,
    )
  )

  def __post_init__(self):
    configs.check(self)
    configs.demand(
      self,
      (
        'cable.radius',
        2 * self.cable.radius < self.clip.gap,
        f"less than half of the clip's gap, {self.clip.gap} m",
      ),
    )


STATE = Config()


def make_model(config: Config) -> mujoco.MjModel:
  """Returns the twin's arm with cameras, the cable in it, and the clip."""
  cable = config.cable
  spec = twin_lib.make_spec(config.physics_timestep)
  wrist_cameras.add(spec)
  _add_cable(spec, cable)
  _add_clip(spec, config)
  # People see a cable from nearby only.
  picture = spec.camera('picture')
  picture.pos = (0.72, 0.26, 0.23)
  picture.alt.xyaxes = (-0.72, 0.69, 0.0, -0.35, -0.365, 0.863)
  return spec.compile()


def _add_cable(spec: mujoco.MjSpec, cable: Cable) -> None:
  base = spec.body(arm_lib.GRIPPER_BASE)
  link = base.add_body(
    name='cable', pos=(0.0, 0.0, arm_lib.TCP_HEIGHT), gravcomp=1
  )
  _add_capsule(link, cable, -_HELD, _HELD)
  length = cable.length / cable.links
  start = _HELD
  for i in range(cable.links):
    link = link.add_body(name=f'cable_{i}', pos=(start, 0.0, 0.0))
    link.add_joint(
      name=f'cable_{i}',
      type=mujoco.mjtJoint.mjJNT_BALL,
      # Where the cable is clamped half a link bends, elsewhere two halves.
      stiffness=(1 if i else 2) * cable.bending_stiffness / length,
      damping=cable.damping,
      armature=1e-6,
    )
    _add_capsule(link, cable, 0.0, length)
    start = length
  link.add_site(name='cable_end', pos=(length, 0.0, 0.0), group=5)
  arm_lib.stop_fingers(spec, 2 * cable.radius)


def _add_capsule(
  body: mujoco.MjsBody, cable: Cable, start: float, end: float
) -> None:
  body.add_geom(
    type=mujoco.mjtGeom.mjGEOM_CAPSULE,
    fromto=(start, 0.0, 0.0, end, 0.0, 0.0),
    size=(cable.radius, 0.0, 0.0),
    # Without the round ends, which are in the next links.
    mass=np.pi * cable.radius**2 * (end - start) * cable.density,
    rgba=cable.colour,
    friction=_FRICTION,
    conaffinity=0,  # a part of the arm
    **scene.CONTACT,
  )


def _add_clip(spec: mujoco.MjSpec, config: Config) -> None:
  """Adds the clip; its origin is on the table, its x the slot's, its z up."""
  clip = config.clip
  position, quaternion = _clip_pose(config.task, clip)
  body = spec.worldbody.add_body(
    name='clip', mocap=True, pos=position, quat=quaternion
  )

  def add(name, centre, size, colour, lean=0.0):
    body.add_geom(
      name=name,
      type=mujoco.mjtGeom.mjGEOM_BOX,
      pos=centre,
      quat=(np.cos(lean / 2), np.sin(lean / 2), 0.0, 0.0),
      size=size,
      rgba=colour,
      friction=_FRICTION,
      **scene.CONTACT,
    )

  half_length, half_gap = clip.length / 2, clip.gap / 2
  half_wall, half_lip = clip.wall / 2, clip.lip / 2
  add(
    'board',
    (0.0, 0.0, clip.board / 2),
    (0.05, 0.06, clip.board / 2),
    (0.62, 0.66, 0.60, 1.0),
  )
  add(
    'clip_floor',
    (0.0, 0.0, (clip.board + clip.floor) / 2),
    (half_length, half_gap, (clip.floor - clip.board) / 2),
    clip.colour,
  )
  for side, name in ((1, 'left'), (-1, 'right')):
    add(
      f'clip_{name}',
      (0.0, side * (half_gap + half_wall), (clip.board + clip.mouth) / 2),
      (half_length, half_wall, (clip.mouth - clip.board) / 2),
      clip.colour,
    )
    # The lip's inner face begins at the mouth's edge.
    y = (half_lip + half_wall) / np.sqrt(2)
    z = (half_lip - half_wall) / np.sqrt(2)
    add(
      f'clip_{name}_lip',
      (0.0, side * (half_gap + y), clip.mouth + z),
      (half_length, half_lip, half_wall),
      clip.colour,
      lean=side * np.pi / 4,
    )


def _clip_pose(
  task: config_lib.Config, clip: Clip
) -> tuple[np.ndarray, np.ndarray]:
  """Returns where the clip is, [3], and how it is turned, [4] wxyz."""
  pose = poses.from_euler(task.target)
  tool = transform.Rotation.from_quat(pose[3:])
  away = tool.apply((1.0, 0.0, 0.0))[:2]  # along the cable
  away /= np.linalg.norm(away)
  position = np.append(pose[:2] + clip.distance * away, 0.0)
  half = np.arctan2(away[1], away[0]) / 2
  return position, np.array((np.cos(half), 0.0, 0.0, np.sin(half)))


class CableRoute(mounted_scene.MountedScene):
  """The scene with its twin: where the clip is and whether it has the cable.

  The cable is fixed in the gripper: opening it does not drop the cable.
  """

  def __init__(self, config: Config = STATE, real_time: bool = False):
    """Creates the scene, the clip where it is mounted.

    Args:
      config: its constants.
      real_time: whether the twin's clock is the machine's, else it is stepped.

    Raises:
      ValueError: if the cable is wider than the slot.
    """
    twin = twin_lib.Twin(make_model(config), config.twin, real_time)
    super().__init__(twin, config.task, 'clip', config.clip_xy, config.clip_yaw)
    self._config = config
    self._body = twin.data.body('clip')
    self._links = [
      twin.model.body(f'cable_{i}').id for i in range(config.cable.links)
    ]
    self._end = twin.model.site('cable_end').id

  def mount_pose(
    self, task: config_lib.Config
  ) -> tuple[np.ndarray, np.ndarray]:
    return _clip_pose(task, self._config.clip)

  @property
  def cable_points(self) -> np.ndarray:
    """The cable's joints and its end, [links + 1, 3], m, in the clip's frame.

    x is along the slot, away from the gripper at the target, and z up from the
    table.
    """
    with self.twin.lock:
      data = self.twin.data
      points = np.vstack((data.xpos[self._links], data.site_xpos[self._end]))
      return (points - self._body.xpos) @ self._body.xmat.reshape(3, 3)

  def is_successful(self) -> bool:
    """Returns whether the cable lies in the clip, all of it below the mouth."""
    return self._is_seated(margin=0.0)

  def is_unclear(self) -> bool:
    """Returns whether the cable lies in the clip, but only just."""
    return self.is_successful() and not self._is_seated(self._config.margin)

  def _is_seated(self, margin: float) -> bool:
    config = self._config
    return is_seated(self.cable_points, config.cable, config.clip, margin)


def is_seated(
  points: np.ndarray, cable: Cable, clip: Clip, margin: float = 0.0
) -> bool:
  """Returns whether a cable runs through the slot of a clip.

  It does where both ends of the slot are crossed within the walls and with the
  whole section of the cable below the mouth.

  Args:
    points: [N, 3], on the cable's axis in their order, m, in the clip's frame.
    cable: its radius counts.
    clip: to run through.
    margin: that it must be farther below the mouth, m.
  """
  for end in (-clip.length / 2, clip.length / 2):
    crossings = [
      a + (end - a[0]) / (b[0] - a[0]) * (b - a)
      for a, b in itertools.pairwise(points)
      if (a[0] < end) != (b[0] < end)
    ]
    if not any(
      abs(y) < clip.gap / 2 and z + cable.radius + margin < clip.mouth
      for _, y, z in crossings
    ):
      return False
  return True


def make(
  seed: int = 0, config: Config = STATE, **kwargs: Any
) -> dm_env.Environment:
  """Returns the cable's routing on the twin, as a policy sees it.

  Without cameras it is not observed where the clip is: it must not move then.

  Args:
    seed: of where episodes begin and where the clip is.
    config: of the scene.
    **kwargs: of `twin_environment.make`.
  """
  return twin_environment.make(CableRoute(config), seed, **kwargs)
