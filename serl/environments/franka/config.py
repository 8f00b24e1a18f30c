"""What a task on the real arm is made of, as frozen data.

Poses are xyz in metres and extrinsic Euler angles 'xyz' in radians, of the tool
in the arm's base frame; the numbers of compliance are the controller's.
"""

from collections.abc import Sequence
import dataclasses
import math
import operator
from typing import Annotated, Any, Literal

import numpy as np

from robot_server import protocol
from serl import configs

# The names of what is observed beside the cameras' pictures.
OBSERVED = ('tcp_pose', 'tcp_vel', 'tcp_force', 'tcp_torque', 'gripper_pose')

# m or rad. No arm of a few joints is larger or turns farther.
_Coordinate = Annotated[float, configs.Bounds(-10, 10)]
_Distance = Annotated[float, configs.Bounds(0, 10)]
_Pose = Annotated[tuple[_Coordinate, ...], configs.length(6)]
_Corner = Annotated[tuple[_Coordinate, ...], configs.length(3)]
_Thresholds = Annotated[tuple[_Distance, ...], configs.length(6)]
_Tolerance = Annotated[float, configs.Bounds(0, 10, '(]')]  # m
_Rate = Annotated[float, configs.Bounds(0, 1000, '(]')]  # Hz
_Seconds = Annotated[float, configs.Bounds(0, 600)]
_Age = Annotated[float, configs.Bounds(0, 600, '(]')]  # s
# From (included) to (excluded), pixels.
_Part = tuple[Annotated[int, configs.Bounds(0, 10_000)], configs.Pixels]


def _range(parameter: str) -> Any:
  """Returns the annotation of a parameter: the range that the arm takes."""
  low, high, _ = protocol.COMPLIANCE[parameter]
  return Annotated[float, configs.Bounds(low, high)]


_Clip = _range('translational_clip_x')
_Turn = _range('rotational_clip_x')


@dataclasses.dataclass(frozen=True)
class Compliance:
  """The parameters of the impedance law, by the controller's names.

  A clip bounds the error that the stiffness acts on, on the positive and the
  negative side of an axis: of the position, m, and of the rotation, the vector
  part of its quaternion.
  """

  translational_stiffness: _range('translational_stiffness') = 2000.0  # N/m
  translational_damping: _range('translational_damping') = 89.0  # N s/m
  rotational_stiffness: _range('rotational_stiffness') = 150.0  # N m
  rotational_damping: _range('rotational_damping') = 7.0  # N m s/rad
  translational_Ki: _range('translational_Ki') = 0.0
  rotational_Ki: _range('rotational_Ki') = 0.0
  translational_clip_x: _Clip = 0.01
  translational_clip_y: _Clip = 0.01
  translational_clip_z: _Clip = 0.01
  translational_clip_neg_x: _Clip = 0.01
  translational_clip_neg_y: _Clip = 0.01
  translational_clip_neg_z: _Clip = 0.01
  rotational_clip_x: _Turn = 0.05
  rotational_clip_y: _Turn = 0.05
  rotational_clip_z: _Turn = 0.05
  rotational_clip_neg_x: _Turn = 0.05
  rotational_clip_neg_y: _Turn = 0.05
  rotational_clip_neg_z: _Turn = 0.05

  __post_init__ = configs.check


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

  name: configs.Name  # of the observation
  # The serial number of a RealSense; the path or number of a video device.
  serial: configs.Word
  kind: Literal['realsense', 'opencv'] = 'realsense'
  width: configs.Pixels = 640  # of the captured picture
  height: configs.Pixels = 480
  rate: Annotated[int, configs.Bounds(1, 1000)] = 30  # frames a second
  # The part that is kept, from (included) to (excluded), pixels; None is all.
  rows: _Part | None = None
  columns: _Part | None = None
  # In the camera's own unit; None is automatic.
  exposure: configs.Positive | None = None
  # After so long without a new picture, with equal ones or with black ones the
  # camera counts as failed, s: who looks 10 times a second notices within 0.5.
  patience: _Age = 0.4
  # Whether only a learned reward goes by it, and no policy.
  for_reward: bool = False
  # Whether two pictures may be equal: those of a real sensor never are, those
  # of a renderer are where nothing moves.
  noiseless: bool = False

  def __post_init__(self):
    configs.check(self)
    for name, size in (('rows', self.height), ('columns', self.width)):
      begin, end = getattr(self, name) or (0, size)
      expected = f'None or a range within 0 and {size}'
      configs.demand(self, (name, begin < end <= size, expected))


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
  target: _Pose
  reset: _Pose
  # The box of allowed poses. Of the first angle its absolute value counts: of
  # a tool that points down it jumps between pi and -pi.
  pose_low: _Pose
  pose_high: _Pose
  # An action of 1 moves by so many m, turns by so many rad and asks of the
  # gripper so much, where 0.5 opens and -0.5 closes it.
  action_scale: tuple[_Distance, _Distance, _Distance]
  compliance: Compliance  # while the policy acts
  precision: Compliance = PRECISION  # while the arm is reset
  # How near to the target each of the six must be for reward 1: along the
  # base's axes, m, and about them, rad. None where something else tells
  # success.
  threshold: _Thresholds | None = None
  # Whether the threshold's angles are those between the absolute values of the
  # Euler angles. So it is in SERL, where a yaw of -0.4 passes for one of 0.4.
  threshold_on_absolute_angles: bool = False
  # A box within that of the poses, m, in which something stands: the straight
  # way from the measured to the commanded position ends where it enters.
  inner_low: _Corner | None = None
  inner_high: _Corner | None = None
  # How far from `reset` an episode may begin: along x and y, m, and about z,
  # rad, either way.
  random_xy: _Distance = 0.0
  random_yaw: _Distance = 0.0
  lift: _Distance = 0.0  # m, straight up, before anything else of a reset
  joint_reset_every: configs.NonNegativeInt = 200  # episodes; 0 is never
  opens_at_reset: bool = False  # the gripper, after the lift
  uses_gripper: bool = False  # 7 actions, else 6 with the gripper left closed
  # Subtracted when the gripper switches.
  gripper_penalty: configs.NonNegative = 0.0
  # The readings of the open and of the closed gripper: those of a Robotiq;
  # (0.08, 0.0) m are those of Franka's hand.
  gripper_range: tuple[float, float] = (0.0, 255.0)
  # Whether motions are taken to the tool's frame as SERL does, where a
  # translation brings a rotation with it; see `relative_frame.adjoint`.
  lever: bool = True
  cameras: tuple[CameraConfig, ...] = ()
  # Height and width of what is observed, pixels.
  image_size: configs.Pixels = 128
  url: configs.Url = 'http://127.0.0.1:5000/'  # of the robot's server
  control_rate: _Rate = 10.0  # steps a second
  episode_steps: configs.Count = 100
  gripper_seconds: _Seconds = 0.6  # that a step takes longer when it switches
  settle_seconds: _Seconds = 0.5  # that new compliance parameters are given
  lift_seconds: _Seconds = 1.0
  move_seconds: _Seconds = 1.5  # of the move to the reset pose
  # How far from where it was sent the tool may be at the start of an episode,
  # m; farther, something is in the way.
  reset_tolerance: _Tolerance = 0.02
  max_state_age: _Age = 0.25  # s; an older state is a fault
  max_camera_age: _Age = 0.4  # s, of a picture, likewise

  def __post_init__(self):
    configs.check(self)
    names = [camera.name for camera in self.cameras]
    serials = [camera.serial for camera in self.cameras]
    configs.demand(
      self,
      (
        'pose_low',
        all(map(operator.le, self.pose_low, self.pose_high)),
        f'none of them above pose_high {self.pose_high}',
      ),
      (
        'pose_low',
        0 <= self.pose_low[3] <= math.pi,
        'as the first angle an absolute value, 0 to pi',
      ),
      *(
        (
          name,
          abs(getattr(self, name)[4]) < math.pi / 2,
          'the second angle within a quarter turn either way, beyond which '
          "Euler angles are others: turn the end effector's frame in the arm's "
          'settings',
        )
        for name in ('pose_low', 'pose_high')
      ),
      (
        'inner_low',
        (self.inner_low is None) == (self.inner_high is None)
        and all(map(operator.lt, self.inner_low or (), self.inner_high or ())),
        f'each below that of inner_high, {self.inner_high}, or both None',
      ),
      (
        'action_scale',
        any(self.action_scale[:2]),
        'a move or a turn of more than 0',
      ),
      (
        'gripper_range',
        self.gripper_range[0] != self.gripper_range[1],
        'two readings that differ, open and closed',
      ),
      (
        'cameras',
        len({*names, *OBSERVED}) == len(names) + len(OBSERVED),
        f'names that differ from each other and from {", ".join(OBSERVED)}; '
        f'they are {names}',
      ),
      (
        'cameras',
        len(set(serials)) == len(serials),
        'different serials, since a camera gives its pictures once; they are '
        f'{serials}',
      ),
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
