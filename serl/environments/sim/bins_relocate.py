"""Object relocation on the twin: two bins, a cube, and a ridge between them.

The bins have sloping sides, so that the cube always comes to rest where the
gripper, within the limits of the task, can take it.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from absl import logging
import dm_env
import mujoco
import numpy as np

from serl import configs
from serl import specs
from serl.environments.franka import config as config_lib
from serl.environments.franka.tasks import bins_relocate
from serl.environments.sim import scene
from serl.environments.sim import twin as twin_lib
from serl.environments.sim import twin_environment
from serl.environments.sim import wrist_cameras
from serl.environments.wrappers import alternating

# m, beside the target of the task.
_FLOOR = 0.025  # above the table: the fingers end above it
_INNER = 0.03  # along y, from where the one bin reaches ...
_OUTER = 0.17  # ... to here
_HALF_LENGTH = 0.10  # of a floor along x
_RIM = 0.055  # above the table, of the slopes
_TOP = 0.09  # likewise of the walls around them, below the gripper's body
_HALF_SIZE = 0.02  # of the cube
_MASS = 0.1  # kg
# Less than the tangent of any slope: the cube slides down.
_FRICTION = (0.2, 0.005, 0.0001)
_SLOPE_X, _SLOPE_Y = math.radians(22), math.radians(45)
_THICKNESS, _WALL = 0.02, 0.006  # of slopes and walls
# How far from a bin's middle the cube is put, along x and y, and how far from
# straight, rad: where the gripper finds it at once, and all that the floor has.
_PLACES = (0.06, 0.03, math.radians(20))
_ALL_PLACES = (0.08, 0.05, math.radians(45))
_AT_REST = 0.05  # m/s
# Of the cube above where it lies on the floor, on which it then still is.
_LOW = 0.01
# Beyond the bins the cube is out of the tool's reach.
_MARGIN = 0.01
# Of the front camera: from where it looks at the bins, by its angles about the
# upright and above the table; m; degrees.
_VIEW = np.radians((-45.0, 40.0))
_DISTANCE = 0.62
_FIELD_OF_VIEW = 42.0
_COLOURS = ((0.35, 0.50, 0.62, 1.0), (0.40, 0.58, 0.42, 1.0))
_WALL_COLOUR = (0.55, 0.52, 0.48, 1.0)


@dataclasses.dataclass(frozen=True)
class Config:
  """The constants of one direction."""

  # Its episodes begin above the bin that the cube is to leave.
  task: config_lib.Config
  # Whether an episode begins with the cube anywhere in either bin, for a
  # classifier to learn what each of them looks like; else where it is to leave.
  anywhere: bool = False
  physics_timestep: twin_lib.Timestep = 0.002  # s
  twin: twin_lib.Config = dataclasses.field(
    # The posture in which the tool is turned as in the task.
    default_factory=lambda: twin_lib.Config(
      reset_joints=(0.0, 0.0, 0.0, -1.9, 0.0, 2.0, -math.pi / 4)
    )
  )

  __post_init__ = configs.check


FORWARD = Config(bins_relocate.FORWARD_STATE)
BACKWARD = Config(bins_relocate.BACKWARD_STATE)


def make_model(config: Config) -> mujoco.MjModel:
  """Returns the twin's arm with cameras, the bins and the cube in one of them.

  That is the bin which the cube is to leave. The camera 'front' sees both.
  """
  spec = twin_lib.make_spec(config.physics_timestep)
  wrist_cameras.add(spec)
  x, y = config.task.target[:2]
  _add_bins(spec.worldbody.add_body(name='bins', pos=(x, y, 0.0)))
  cube = spec.worldbody.add_body(
    name='cube', pos=(x, config.task.reset[1], _FLOOR + _HALF_SIZE)
  )
  cube.add_freejoint(name='cube')
  cube.add_geom(
    name='cube',
    type=mujoco.mjtGeom.mjGEOM_BOX,
    size=(_HALF_SIZE,) * 3,
    mass=_MASS,
    rgba=(0.80, 0.20, 0.16, 1.0),
    friction=_FRICTION,
    **scene.CONTACT,
  )
  _aim_front_camera(spec.camera('front'), (x, y, _FLOOR))
  return spec.compile()


def _aim_front_camera(
  camera: mujoco.MjsCamera, centre: tuple[float, ...]
) -> None:
  """Points it at both bins from aside: whether the gripper is open is seen."""
  (cos_a, cos_e), (sin_a, sin_e) = np.cos(_VIEW), np.sin(_VIEW)
  out = np.array((cos_a * cos_e, sin_a * cos_e, sin_e))
  camera.pos = centre + _DISTANCE * out
  right = (-sin_a, cos_a, 0.0)
  camera.alt.xyaxes = (*right, *np.cross(out, right))
  camera.fovy = _FIELD_OF_VIEW


def _add_bins(bins: mujoco.MjsBody) -> None:
  """Adds what the bins are made of to a body on the table, amid them.

  Its sides slope, walls stand around them.
  """

  def add(name, size, pos, axes=(1, 0, 0, 0, 1, 0), colour=_WALL_COLOUR):
    bins.add_geom(
      name=f'bins_{name}',
      type=mujoco.mjtGeom.mjGEOM_BOX,
      size=size,
      pos=pos,
      xyaxes=axes,
      rgba=colour,
      friction=_FRICTION,
      **scene.CONTACT,
    )

  length = _HALF_LENGTH + (_RIM - _FLOOR) / math.tan(_SLOPE_X)
  width = _OUTER + (_RIM - _FLOOR) / math.tan(_SLOPE_Y)
  for name, side, colour in zip(('right', 'left'), (-1, 1), _COLOURS):
    add(
      name,
      (length, width / 2, _FLOOR / 2),
      (0, side * width / 2, _FLOOR / 2),
      colour=colour,
    )
  # A bar on edge: nothing stays on it.
  half_edge = _INNER * math.sqrt(0.5)
  add(
    'ridge',
    (length - _THICKNESS, half_edge, half_edge),
    (0, 0, _FLOOR),
    (1, 0, 0, 0, math.sqrt(0.5), math.sqrt(0.5)),
  )
  for name, foot, angle, across, out in (
    ('far', _HALF_LENGTH, _SLOPE_X, width, (1, 0)),
    ('near', _HALF_LENGTH, _SLOPE_X, width, (-1, 0)),
    ('west', _OUTER, _SLOPE_Y, length, (0, 1)),
    ('east', _OUTER, _SLOPE_Y, length, (0, -1)),
  ):
    # Of the box, whose upper face goes from its foot on the floor to the rim.
    up = np.array((*np.multiply(out, math.cos(angle)), math.sin(angle)))
    aside = np.array((-out[1], out[0], 0.0))
    half = (_RIM - _FLOOR) / math.sin(angle) / 2
    centre = (
      np.array((*np.multiply(out, foot), _FLOOR))
      + half * up
      - _THICKNESS / 2 * np.cross(up, aside)
    )
    add(name, (half, across, _THICKNESS / 2), centre, (*up, *aside))
    edge = foot + (_RIM - _FLOOR) / math.tan(angle) + _WALL / 2
    add(
      f'{name}_wall',
      (_WALL / 2, across + _WALL, _TOP / 2),
      (*np.multiply(out, edge), _TOP / 2),
      (*out, 0.0, *aside),
    )


class Bins:
  """The twin with the bins and the cube, whichever direction is in work."""

  def __init__(self, config: Config = FORWARD, real_time: bool = False):
    """Creates the twin, the cube in the bin that it is to leave.

    Args:
      config: its constants.
      real_time: whether the twin's clock is the machine's, else it is stepped.
    """
    self.twin = twin_lib.Twin(make_model(config), config.twin, real_time)
    model, data = self.twin.model, self.twin.data
    self.centre = np.array((*config.task.target[:2], _FLOOR))  # [3], m
    self._geom = model.geom('cube').id
    self._bins = model.body('bins').id
    joint = model.joint('cube')
    # Views into the simulation's memory.
    self._pose = data.qpos[joint.qposadr[0] : joint.qposadr[0] + 7]
    self._velocity = data.qvel[joint.dofadr[0] : joint.dofadr[0] + 3]

  @property
  def cube_position(self) -> np.ndarray:
    """The cube's centre, [3], m, base frame."""
    return self._pose[:3].copy()

  def side(self) -> int:
    """Returns in which bin the cube is: -1 at smaller y, 1 at larger y, or 0.

    It is in one when it is within reach and low, in the gripper or not.
    """
    x, y, z = self.cube_position - self.centre
    within = (
      abs(x) < _HALF_LENGTH + _MARGIN
      and _INNER < abs(y) < _OUTER + _MARGIN
      and z < _HALF_SIZE + _LOW
    )
    return int(np.sign(y)) if within else 0

  def is_at_rest(self) -> bool:
    """Returns whether the cube lies still and the arm does not touch it."""
    with self.twin.lock:
      still = np.linalg.norm(self._velocity) < _AT_REST
    return bool(still and not self._touching())

  def is_held(self) -> bool:
    """Returns whether both fingers touch the cube."""
    touching = self._touching()
    return all(
      any(side in name for name in touching) for side in ('left', 'right')
    )

  def _touching(self) -> list[str]:
    """Returns the names of the arm's bodies that touch the cube."""
    twin = self.twin
    with twin.lock:
      pairs = twin.data.contact.geom
      others = pairs[(pairs == self._geom).any(axis=1)].ravel()
      bodies = twin.model.geom_bodyid[others[others != self._geom]]
    # All but the room and the bins are the arm's.
    arm = set(bodies.tolist()) - {0, self._bins}
    return [twin.model.body(body).name for body in arm]

  def put(
    self,
    side: int,
    rng: np.random.Generator,
    places: tuple[float, float, float] = _PLACES,
  ) -> None:
    """Puts the cube into a bin, and the arm at its reset posture.

    Args:
      side: of the bin, as `side` returns it.
      rng: draws where.
      places: how far from its middle at most, along x and y, m, and how far
        from straight, rad.
    """
    x, y, yaw = rng.uniform(np.negative(places), places)
    y += side * (_INNER + _OUTER) / 2
    with self.twin.lock:
      self.twin.restart()
      self._pose[:3] = self.centre + (x, y, _HALF_SIZE)
      self._pose[3:] = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
      mujoco.mj_forward(self.twin.model, self.twin.data)


class BinsRelocate(twin_environment.Scene):
  """One direction: the cube is to be in the other bin.

  Success is that it lies there and nothing of the arm touches it.
  """

  def __init__(
    self, bins: Bins, config: Config = FORWARD, brings_back: bool = True
  ):
    """Initialises the scene.

    Args:
      bins: with the twin, which directions may share.
      config: of the direction.
      brings_back: whether a cube in the bin where it is to be is brought back
        before an episode, and put somewhere before the first. Else another
        direction does that, and only a cube out of reach is put into a bin.
    """
    super().__init__(bins.twin, config.task)
    self.bins = bins
    # Episodes begin above the bin that the cube is to leave.
    self.goal_side = -int(np.sign(config.task.reset[1] - config.task.target[1]))
    self.rescues = 0  # of cubes out of reach, in all episodes
    self._rescued = False  # before the present one
    self._anywhere = config.anywhere
    self._brings_back = brings_back
    self._begun = False

  def begin_episode(self, rng: np.random.Generator) -> None:
    """Sees to it that the cube can be moved; see `__init__`."""
    side = self.bins.side()
    self._rescued = side == 0 and self.bins.is_at_rest()
    if self._rescued:
      self.rescues += 1
      logging.warning(
        'The cube is out of reach at %s m and put back: the %d. time.',
        np.round(self.bins.cube_position, 3),
        self.rescues,
      )
      self.bins.put(-self.goal_side, rng)
    elif self._anywhere:
      self.bins.put(rng.choice((-1, 1)), rng, _ALL_PLACES)
    elif self._brings_back and (side == self.goal_side or not self._begun):
      self.bins.put(-self.goal_side, rng)
    self._begun = True

  def is_successful(self) -> bool:
    """Returns whether the cube lies in the bin where it is to be."""
    return self.bins.side() == self.goal_side and self.bins.is_at_rest()

  def is_unclear(self) -> bool:
    """Returns whether the cube is there, but slides or is only just touched.

    No picture shows that.
    """
    there = self.bins.side() == self.goal_side
    return there and not self.bins.is_at_rest() and not self.bins.is_held()

  def episode_metrics(self) -> dict[str, float]:
    """Returns 'rescues', whether the cube was out of reach before the episode.

    Their mean is how often the simulation does what a person would have to do.
    """
    return {'rescues': float(self._rescued)}

  @property
  def cube_position(self) -> np.ndarray:
    """The cube's centre, [3], m, base frame."""
    return self.bins.cube_position

  @property
  def goal(self) -> np.ndarray:
    """Where the cube's centre is amid the bin it belongs to, [3], m."""
    y = self.goal_side * (_INNER + _OUTER) / 2
    return self.bins.centre + (0.0, y, _HALF_SIZE)

  def observation_spec(self) -> dict[str, specs.BoundedArray]:
    """Returns where the cube is.

    object_pos: [3] m, its centre, base frame.
    object_offset: [3] m, from the tool to there.
    """
    low = self.bins.centre - (_HALF_LENGTH, _OUTER, 0.0)
    high = np.append(
      self.bins.centre[:2] + (_HALF_LENGTH, _OUTER), self.task.pose_high[2]
    )
    return specs.bounded(
      {
        'object_pos': (low, high),
        'object_offset': (low - high, high - low),
      }
    )

  def observe(self) -> dict[str, np.ndarray]:
    cube = self.cube_position
    seen = {'object_pos': cube, 'object_offset': cube - self.tool_pose[:3]}
    # They saturate: a cube may lie on a slope, beyond the floor.
    return {
      name: np.clip(seen[name].astype(np.float32), leaf.minimum, leaf.maximum)
      for name, leaf in self.observation_spec().items()
    }


def make(
  seed: int = 0, config: Config = FORWARD, **kwargs: Any
) -> dm_env.Environment:
  """Returns one direction on the twin, as a policy sees it.

  Where the cube is where it is to be, it is brought back between the episodes.

  Args:
    seed: of where episodes begin and the cube is put.
    config: of the direction.
    **kwargs: of `twin_environment.make`.
  """
  return twin_environment.make(
    BinsRelocate(Bins(config), config), seed, **kwargs
  )


def make_both(
  seed: int = 0,
  configs: Mapping[str, Config] | None = None,
  **kwargs: Any,
) -> dict[str, dm_env.Environment]:
  """Returns the directions on one twin, by name, as their policies see them.

  The cube stays where an episode has left it, unless it is out of reach. One of
  them may act at a time: `alternating.Alternating` sees to that.

  Args:
    seed: of where episodes begin and the cube is put.
    configs: of the directions by their names; by default 'forward' and
      'backward', without cameras.
    **kwargs: of `twin_environment.make`.
  """
  configs = configs or {'forward': FORWARD, 'backward': BACKWARD}
  bins = Bins(next(iter(configs.values())))
  made: dict[str, dm_env.Environment] = {}
  for name, config in configs.items():
    scene = BinsRelocate(bins, config, brings_back=False)
    made[name] = twin_environment.make(scene, seed, **kwargs)
    if kwargs.get('http'):
      # One arm, one server.
      kwargs['http'] = made[name].url
  return made


def make_alternating(
  seed: int = 0,
  configs: Mapping[str, Config] | None = None,
  **kwargs: Any,
) -> alternating.Alternating:
  """Returns the directions on one twin, in turns as they succeed.

  Args: as of `make_both`.
  """
  return alternating.Alternating(make_both(seed, configs, **kwargs))
