"""What a task on the real arm is made of, as frozen data.

Poses are xyz in metres and extrinsic Euler angles 'xyz' in radians, of the tool
in the arm's base frame; the numbers of compliance are the controller's.
"""

from collections.abc import Sequence
import dataclasses
import math
from urllib import parse

import numpy as np

from robot_server import protocol


def _demand(met: bool, name: str, value: object, expected: object) -> None:
  if not met:
    raise ValueError(f'{name} is {value}; expected {expected}.')


@dataclasses.dataclass(frozen=True)
class Compliance:
  """The parameters of the impedance law, by the controller's names.

  A clip bounds the error that the stiffness acts on, on the positive and the
  negative side of an axis: of the position, m, and of the rotation, the vector
  part of its quaternion.
  """

  translational_stiffness: float = 2000.0  # N/m
  translational_damping: float = 89.0  # N s/m
  rotational_stiffness: float = 150.0  # N m
  rotational_damping: float = 7.0  # N m s/rad
  translational_Ki: float = 0.0
  rotational_Ki: float = 0.0
  translational_clip_x: float = 0.01
  translational_clip_y: float = 0.01
  translational_clip_z: float = 0.01
  translational_clip_neg_x: float = 0.01
  translational_clip_neg_y: float = 0.01
  translational_clip_neg_z: float = 0.01
  rotational_clip_x: float = 0.05
  rotational_clip_y: float = 0.05
  rotational_clip_z: float = 0.05
  rotational_clip_neg_x: float = 0.05
  rotational_clip_neg_y: float = 0.05
  rotational_clip_neg_z: float = 0.05

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      limits = protocol.COMPLIANCE[name]
      _demand(
        limits.low <= value <= limits.high,
        name,
        value,
        f'{limits.low} to {limits.high}',
      )


def check_url(url: str) -> None:
  """Checks the address of a robot's server.

  Args:
    url: to check.

  Raises:
    ValueError: it has no scheme or host, or a port that does not exist.
  """
  try:
    parts = parse.urlsplit(url)
    right = (
      parts.scheme in ('http', 'https') and parts.hostname and parts.port != 0
    )
  except ValueError:  # a port beyond 65535, or one that is no number
    right = False
  if not right:
    raise ValueError(
      f"url={url!r}; expected 'http://HOST:PORT/' with a port of 1 to 65535."
    )


def clips(
  translation: Sequence[float],
  rotation: Sequence[float],
  negative: Sequence[float] | None = None,
) -> dict[str, float]:
  """Returns all clips of a `Compliance` by their names.

  Args:
    translation: [3], along x, y and z, m.
    rotation: [3], about them.
    negative: [3], along them on the negative side; by default as on the other.
  """
  return {
    f'{kind}_clip_{side}{axis}': value
    for kind, side, values in (
      ('translational', '', translation),
      ('translational', 'neg_', negative or translation),
      ('rotational', '', rotation),
      ('rotational', 'neg_', rotation),
    )
    for axis, value in zip('xyz', values, strict=True)
  }


# Stiff, for moves through the air to an exact pose.
PRECISION = Compliance(
  translational_stiffness=3000.0,
  translational_damping=89.0,
  rotational_stiffness=300.0,
  rotational_damping=9.0,
  translational_Ki=0.1,
  rotational_Ki=0.1,
)


@dataclasses.dataclass(frozen=True)
class CameraConfig:
  """One camera and what of its picture is observed."""

  name: str  # of the observation
  # The serial number of a RealSense; the path or number of a video device.
  serial: str
  kind: str = 'realsense'  # or 'opencv'
  width: int = 640  # of the captured picture, pixels
  height: int = 480
  rate: int = 30  # frames a second
  # The part that is kept, from (included) to (excluded), pixels; None is all.
  rows: tuple[int, int] | None = None
  columns: tuple[int, int] | None = None
  exposure: float | None = None  # the camera's own unit; None is automatic
  # After so long without a new picture, with equal ones or with black ones the
  # camera counts as failed, s: who looks 10 times a second notices within 0.5.
  patience: float = 0.4
  # Whether only a learned reward goes by it, and no policy.
  for_reward: bool = False
  # Whether two pictures may be equal: those of a real sensor never are, those
  # of a renderer are where nothing moves.
  noiseless: bool = False

  def __post_init__(self):
    _demand(self.kind in ('realsense', 'opencv'), 'kind', self.kind, 'a kind')
    for name, size in (('rows', self.height), ('columns', self.width)):
      part = getattr(self, name)
      _demand(
        part is None or 0 <= part[0] < part[1] <= size,
        f'{name} of the camera {self.name!r}',
        part,
        f'a range within 0 and {size}',
      )


def wrist_cameras(
  serials: Sequence[str],
  rows: tuple[int, int] | None = None,
  columns: tuple[int, int] | None = None,
) -> tuple[CameraConfig, ...]:
  """Returns cameras on the wrist, 'wrist_1' and so on, that look alike.

  Args:
    serials: of each, as it stands on its underside.
    rows: see `CameraConfig`.
    columns: see `CameraConfig`.
  """
  return tuple(
    CameraConfig(f'wrist_{number}', serial, rows=rows, columns=columns)
    for number, serial in enumerate(serials, 1)
  )


@dataclasses.dataclass(frozen=True)
class Config:
  """One task on one arm."""

  # The tool's pose at the goal, and that in which episodes begin.
  target: tuple[float, ...]  # [6]
  reset: tuple[float, ...]  # [6]
  # The box of allowed poses. Of the first angle its absolute value counts: of
  # a tool that points down it jumps between pi and -pi.
  pose_low: tuple[float, ...]  # [6]
  pose_high: tuple[float, ...]  # [6]
  # An action of 1 moves by so many m, turns by so many rad and asks of the
  # gripper so much, where 0.5 opens and -0.5 closes it.
  action_scale: tuple[float, float, float]
  compliance: Compliance  # while the policy acts
  precision: Compliance = PRECISION  # while the arm is reset
  # How near to the target each of the six must be for reward 1: along the
  # base's axes, m, and about them, rad. None where something else tells
  # success.
  threshold: tuple[float, ...] | None = None  # [6]
  # Whether the threshold's angles are those between the absolute values of the
  # Euler angles. So it is in SERL, where a yaw of -0.4 passes for one of 0.4.
  threshold_on_absolute_angles: bool = False
  # A box within that of the poses, m, in which something stands: the straight
  # way from the measured to the commanded position ends where it enters.
  inner_low: tuple[float, ...] | None = None  # [3]
  inner_high: tuple[float, ...] | None = None  # [3]
  # How far from `reset` an episode may begin: along x and y, m, and about z,
  # rad, either way.
  random_xy: float = 0.0
  random_yaw: float = 0.0
  lift: float = 0.0  # m, straight up, before anything else of a reset
  joint_reset_every: int = 200  # episodes; 0 is never
  opens_at_reset: bool = False  # the gripper, after the lift
  uses_gripper: bool = False  # 7 actions, else 6 with the gripper left closed
  gripper_penalty: float = 0.0  # subtracted when the gripper switches
  # The readings of the open and of the closed gripper: those of a Robotiq;
  # (0.08, 0.0) m are those of Franka's hand.
  gripper_range: tuple[float, float] = (0.0, 255.0)
  # Whether motions are taken to the tool's frame as SERL does, where a
  # translation brings a rotation with it; see `relative_frame.adjoint`.
  lever: bool = True
  cameras: tuple[CameraConfig, ...] = ()
  image_size: int = 128  # height and width of what is observed, pixels
  url: str = 'http://127.0.0.1:5000/'  # of the robot's server
  control_rate: float = 10.0  # steps a second
  episode_steps: int = 100
  gripper_seconds: float = 0.6  # that a step takes longer when it switches
  settle_seconds: float = 0.5  # that new compliance parameters are given
  lift_seconds: float = 1.0
  move_seconds: float = 1.5  # of the move to the reset pose
  # How far from where it was sent the tool may be at the start of an episode,
  # m; farther, something is in the way.
  reset_tolerance: float = 0.02
  max_state_age: float = 0.25  # s; an older state is a fault
  max_camera_age: float = 0.4  # s, of a picture, likewise

  def __post_init__(self):
    check_url(self.url)
    for name in ('target', 'reset', 'pose_low', 'pose_high', 'threshold'):
      value = getattr(self, name)
      if name == 'threshold' and value is None:
        continue
      _demand(
        np.shape(value) == (6,) and np.isfinite(value).all(),
        name,
        value,
        '6 finite numbers: x, y, z in m and Euler angles xyz in rad',
      )
    _demand(
      np.less_equal(self.pose_low, self.pose_high).all(),
      'pose_low',
      self.pose_low,
      f'none of them above pose_high {self.pose_high}',
    )
    if (self.inner_low, self.inner_high) != (None, None):
      inner = (self.inner_low, self.inner_high)
      _demand(
        [np.shape(corner) for corner in inner] == [(3,), (3,)]
        and np.isfinite(inner).all()
        and np.less(*inner).all(),
        'inner_low, inner_high',
        inner,
        'both x, y, z in m, the first below the second, or neither',
      )
    _demand(
      0 <= self.pose_low[3] <= math.pi,
      'pose_low',
      self.pose_low,
      'as the first angle an absolute value, 0 to pi',
    )
    _demand(
      -math.pi / 2 < self.pose_low[4] and self.pose_high[4] < math.pi / 2,
      'pose_low, pose_high',
      (self.pose_low, self.pose_high),
      'the second angle within a quarter turn either way, beyond which Euler '
      "angles are others: turn the end effector's frame in the arm's settings",
    )
    _demand(
      min(self.control_rate, self.episode_steps, self.image_size) > 0,
      'control_rate, episode_steps, image_size',
      (self.control_rate, self.episode_steps, self.image_size),
      'positive numbers',
    )
    names = [camera.name for camera in self.cameras]
    _demand(len(set(names)) == len(names), 'cameras', names, 'different names')
    serials = [camera.serial for camera in self.cameras]
    _demand(
      len(set(serials)) == len(serials),
      'cameras',
      serials,
      'different serials: a camera gives its pictures once',
    )

  @property
  def reward_cameras(self) -> tuple[str, ...]:
    """The names of the cameras that policies do not see."""
    return tuple(camera.name for camera in self.cameras if camera.for_reward)


def around(
  target: tuple[float, ...],
  low: tuple[float, ...],
  high: tuple[float, ...],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Returns the box of poses around a target, its lower and upper corner.

  Args:
    target: [6], a pose.
    low: [6], how far below it the box begins; 0 or less.
    high: [6], how far above it the box ends; 0 or more.
  """
  roll = abs(math.remainder(target[3], 2 * math.pi))
  first = (*target[:3], roll, *target[4:])
  return (
    tuple(float(x) for x in np.add(first, low)),
    tuple(float(x) for x in np.add(first, high)),
  )


def beside(
  target: tuple[float, ...], offset: tuple[float, ...]
) -> tuple[float, ...]:
  """Returns a pose, or a position, at an offset [N] from a target's first N."""
  return tuple(np.add(target[: len(offset)], offset).tolist())


def moved(config: Config, offset: Sequence[float]) -> Config:
  """Returns a task with all its poses and boxes moved: it stands elsewhere.

  Args:
    config: of the task.
    offset: [6], added to each of its Euler poses. A turn about the upright
      changes nothing but the last angle.
  """
  named = {
    name: getattr(config, name)
    for name in (
      'target',
      'reset',
      'pose_low',
      'pose_high',
      'inner_low',
      'inner_high',
    )
  }
  return dataclasses.replace(
    config,
    **{
      name: tuple(np.add(value, offset[: len(value)]).tolist())
      for name, value in named.items()
      if value is not None
    },
  )
