"""What a command may ask of the arm, and what is left of one that asks more.

Everything here is pure. Positions are limited to a convex box and orientations
to a ball of rotations, which is convex up to 90 degrees: what lies on the way
between two allowed poses is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import json
import math
import numbers
import os
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import transform

from robot_server import protocol

# How far from 1 the norm of a commanded quaternion may be.
_NORM_TOLERANCE = 0.05


class CommandError(ValueError):
  """A command that makes no sense or asks for what no limit allows."""


def within(default: Any, low: float | None = None, high: float = 1000.0) -> Any:
  """Returns a field of a config with the bounds of its number, or of each.

  Args:
    default: its value; what is set has as many numbers.
    low: the least that is allowed; None for more than 0.
    high: the most that is allowed.
  """
  return dataclasses.field(default=default, metadata={'bounds': (low, high)})


def check_fields(config: Any) -> None:
  """Checks the fields of a config by their annotations and their bounds.

  Numbers are made by `within`. Of the rest, texts and switches are checked.

  Raises:
    CommandError: with the field, its value and what was expected.
  """
  for field in dataclasses.fields(config):
    value, bounds = getattr(config, field.name), field.metadata.get('bounds')
    if bounds is not None:
      _check_numbers(field, value, *bounds)
    # The annotations of this package are kept as their texts.
    elif field.type == 'bool' and not isinstance(value, bool):
      raise CommandError(f'{field.name} is {value!r}; expected True or False')
    elif field.type == 'str' and not isinstance(value, str):
      raise CommandError(f'{field.name} is {value!r}; expected a text')


def _check_numbers(
  field: dataclasses.Field, value: Any, low: float | None, high: float
) -> None:
  many = isinstance(field.default, tuple)
  length = len(field.default) if many else 1
  array = numbers_in(value if many else [value], length, field.name)
  if field.type == 'int' and not isinstance(value, numbers.Integral):
    raise CommandError(f'{field.name} is {value!r}; expected a whole number')
  is_above = array > 0 if low is None else array >= low
  if not np.all(is_above & (array <= high)):
    least = 'more than 0' if low is None else f'at least {low:g}'
    raise CommandError(
      f'{field.name} is {value!r}; expected {least} and at most {high:g}'
    )


@dataclasses.dataclass(frozen=True)
class Limits:
  """The limits of one arm in one room; a client cannot change them.

  Speeds are those of the commanded pose: how fast the arm follows is up to the
  compliance parameters.
  """

  # m, of the tool
  box_low: tuple[float, ...] = within((0.3, -0.3, 0.01), -10, 10)
  box_high: tuple[float, ...] = within((0.75, 0.3, 0.6), -10, 10)
  # xyzw, straight down
  orientation: tuple[float, ...] = within((1.0, 0.0, 0.0, 0.0), -2, 2)
  # rad, away from `orientation`; at most pi/2, beyond which the way between two
  # allowed orientations may not be allowed.
  max_rotation: float = within(math.pi / 2, high=math.pi / 2)
  # m, of the commanded from the measured position
  max_step: float = within(0.15)
  max_rotation_step: float = within(0.6)  # rad, likewise
  max_speed: float = within(1.2)  # m/s
  max_rotation_speed: float = within(8.0)  # rad/s
  max_force: float = within(60.0)  # N, measured; above it the arm is held
  max_torque: float = within(20.0)  # N m, measured; above it the arm is held
  command_ttl: float = within(0.15)  # s without a command until the arm is held
  # s longer after a command of the gripper: clients wait for the fingers.
  gripper_seconds: float = within(0.7)
  max_recoveries: int = within(5, 0)  # from reflexes, within `recovery_window`
  recovery_window: float = within(60.0, high=1e6)  # s
  # Ranges by name, within those that the controller takes; the others' are
  # the controller's.
  compliance: Mapping[str, Sequence[float]] = dataclasses.field(
    default_factory=dict
  )

  def __post_init__(self):
    check_fields(self)
    if not np.all(np.less(self.box_low, self.box_high)):
      raise CommandError(
        f'box_low {self.box_low} is not below box_high {self.box_high} on '
        'every axis'
      )
    unit_quaternion(self.orientation, 'orientation')
    if not isinstance(self.compliance, Mapping):
      raise CommandError(
        f'compliance is {self.compliance!r}; expected ranges by name'
      )
    for name, given in self.compliance.items():
      low, high = numbers_in(given, 2, f'compliance {name}')
      least, most, _ = _range_of(name)
      if not least <= low <= high <= most:
        raise CommandError(
          f'compliance {name} is [{low}, {high}]; expected a range within '
          f'[{least}, {most}]'
        )


class LimitedPose(NamedTuple):
  """A pose that may be commanded."""

  pose: np.ndarray  # [7], xyz and unit quaternion
  limited_by: tuple[str, ...]  # the limits that changed what was asked


def load(path: str | os.PathLike) -> Limits:
  """Returns the limits in a JSON file; what it does not name is the default.

  Raises:
    CommandError: the file is no JSON object, or a limit in it makes no sense.
    OSError: it cannot be read.
  """
  with open(path, encoding='utf-8') as file:
    text = file.read()
  try:
    given = json.loads(text)
  except ValueError as error:
    raise CommandError(f'{path} holds no JSON: {error}') from error
  names = {field.name for field in dataclasses.fields(Limits)}
  if not isinstance(given, dict) or not names >= set(given):
    unknown = sorted(set(given) - names) if isinstance(given, dict) else given
    raise CommandError(
      f'{path} holds {unknown!r}; expected an object with some of '
      f'{", ".join(sorted(names))}'
    )
  try:
    return Limits(**given)
  except CommandError as error:
    raise CommandError(f'{path}: {error}') from error


def numbers_in(values: Any, length: int, name: str) -> np.ndarray:
  """Returns `values` as [length] float64.

  Raises:
    CommandError: they are not `length` finite numbers. True is not a number.
  """
  expected = f'expected {length} finite numbers'
  if not isinstance(values, (list, tuple, np.ndarray)):
    raise CommandError(f'{name} is {_short(values)}; {expected}')
  if len(values) != length:
    raise CommandError(f'{name} has {len(values)} values; {expected}')
  for value in values:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
      raise CommandError(f'{name} holds {_short(value)}; {expected}')
  try:
    array = np.array([float(value) for value in values])
  except OverflowError as error:
    raise CommandError(f'{name} holds too large a number') from error
  if not np.all(np.isfinite(array)):
    raise CommandError(f'{name} is {array.tolist()}; {expected}')
  return array


def unit_quaternion(values: Sequence[float], name: str) -> np.ndarray:
  """Returns the quaternion at norm 1.

  Raises:
    CommandError: its norm is not about 1, so that it is a mistake.
  """
  quaternion = numbers_in(values, 4, name)
  # The largest entry first: the square of a huge number is infinite.
  norm = math.inf
  if np.max(np.abs(quaternion)) < 2:
    norm = float(np.linalg.norm(quaternion))
  if abs(norm - 1) > _NORM_TOLERANCE:
    raise CommandError(
      f'{name} {quaternion.tolist()} is no unit quaternion (xyzw): its norm '
      f'is {norm:g}'
    )
  return quaternion / norm


def check_pose(values: Any) -> np.ndarray:
  """Returns a commanded pose as [7] float64 with a quaternion of norm 1.

  Raises:
    CommandError: it is no pose.
  """
  pose = numbers_in(values, 7, 'the pose')
  pose[3:] = unit_quaternion(pose[3:], "the pose's orientation")
  return pose


def limit_pose(
  asked: np.ndarray,
  measured: np.ndarray,
  previous: np.ndarray,
  elapsed: float,
  limits: Limits,
) -> LimitedPose:
  """Returns the allowed pose nearest to the asked one, step by step.

  First the workspace, then the speed, seen from the previous command, last the
  step, seen from the arm. So a command is never farther from the arm than a
  step. It is within the workspace; where the arm itself or the previous command
  is outside of it, it is no farther outside than they are.

  Args:
    asked: [7], the pose that was commanded, with a unit quaternion.
    measured: [7], where the tool is.
    previous: [7], the last pose that was sent.
    elapsed: seconds since then.
    limits: to keep.
  """
  limited_by = []

  def keep(name, before, after):
    if after is not before:
      limited_by.append(name)
    return after

  position, orientation = asked[:3], asked[3:]
  inside = np.clip(position, limits.box_low, limits.box_high)
  if not np.array_equal(inside, position):
    position = keep('box', position, inside)
  orientation = keep(
    'rotation',
    orientation,
    _rotated(limits.orientation, orientation, limits.max_rotation),
  )
  speed = limits.max_speed * elapsed
  position = keep('speed', position, _moved(previous[:3], position, speed))
  speed = limits.max_rotation_speed * elapsed
  orientation = keep(
    'rotation_speed', orientation, _rotated(previous[3:], orientation, speed)
  )
  position = keep(
    'step', position, _moved(measured[:3], position, limits.max_step)
  )
  orientation = keep(
    'rotation_step',
    orientation,
    _rotated(measured[3:], orientation, limits.max_rotation_step),
  )
  return LimitedPose(np.concatenate([position, orientation]), tuple(limited_by))


def check_compliance(parameters: Any, limits: Limits) -> dict[str, float]:
  """Returns compliance parameters that may be set.

  Raises:
    CommandError: they are no object, or one is unknown or out of its range.
  """
  if not isinstance(parameters, Mapping):
    raise CommandError(
      f'the parameters are {_short(parameters)}; expected numbers by name'
    )
  checked = {}
  for name, value in parameters.items():
    low, high, _ = _range_of(name)
    low, high = limits.compliance.get(name, (low, high))
    (number,) = numbers_in([value], 1, name)
    if not low <= number <= high:
      raise CommandError(f'{name} is {value}; allowed is [{low}, {high}]')
    checked[name] = float(number)
  return checked


def check_gripper_position(value: Any) -> int:
  """Returns a gripper's commanded position.

  Raises:
    CommandError: it is no number from 0 to 255.
  """
  low, high = protocol.GRIPPER_RANGE
  (number,) = numbers_in([value], 1, 'gripper_pos')
  if not low <= number <= high:
    raise CommandError(f'gripper_pos is {value}; expected {low} to {high}')
  return int(number)


def exceeds_forces(state: protocol.State, limits: Limits) -> bool:
  """Tells whether the arm meets more force or torque than is allowed."""
  return bool(
    np.linalg.norm(state.force) > limits.max_force
    or np.linalg.norm(state.torque) > limits.max_torque
  )


def _moved(start: np.ndarray, end: np.ndarray, distance: float) -> np.ndarray:
  """Returns `end`, or the point `distance` from `start` on the way to it."""
  length = np.linalg.norm(end - start)
  if length <= distance:
    return end
  return start + (end - start) * (distance / length)


def _rotated(
  start: Sequence[float], end: np.ndarray, angle: float
) -> np.ndarray:
  """Returns `end`, or the quaternion `angle` from `start` on the way to it."""
  first = transform.Rotation.from_quat(start)
  way = (transform.Rotation.from_quat(end) * first.inv()).as_rotvec()
  length = np.linalg.norm(way)
  if length <= angle:
    return end
  part = transform.Rotation.from_rotvec(way * (angle / length))
  return (part * first).as_quat()


def _range_of(name: str) -> protocol.Range:
  if name not in protocol.COMPLIANCE:
    raise CommandError(
      f'unknown compliance parameter {_short(name)}; expected some of '
      f'{", ".join(protocol.COMPLIANCE)}'
    )
  return protocol.COMPLIANCE[name]


def _short(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 80 else text[:80] + '...'
