"""Readings of grippers in others' units, told by their range.

SERL reads a Robotiq from 0, open, to 255, closed. HIL-SERL reads any gripper
from 0, closed, to 1, open. Franka's hand is read in metres between its fingers.
"""

import numpy as np

from serl import specs
from serl.demos import files

NAME = 'gripper_pose'  # the last part of the observation's path

_MOST = 1.001  # of readings from 0 to 1
_ROBOTIQ_FROM = 2.0  # a range that ends beyond is Robotiq's
_METRES_TO = 0.2  # a range that ends before is one of metres


class Units:
  """The unit of the readings of one data set."""

  def __init__(self):
    self._is_part = False  # whether readings are known to be from 0 to 1

  def convert(
    self, name: str, readings: np.ndarray, leaf: specs.Array, is_hil: bool
  ) -> tuple[np.ndarray, bool]:
    """Returns readings in the unit of a spec, and whether they had another.

    Args:
      name: of the episode, for errors.
      readings: of an episode, finite.
      leaf: the spec of a reading.
      is_hil: whether HIL-SERL wrote the file.

    Raises:
      FileError: they are in another unit and cannot be converted.
    """
    if not isinstance(leaf, specs.BoundedArray):
      return readings, False
    low, high = float(np.min(leaf.minimum)), float(np.max(leaf.maximum))
    most = float(readings.max())
    if not np.isfinite([low, high]).all() or not np.isfinite(most):
      return readings, False
    is_robotiq, is_metres = high > _ROBOTIQ_FROM, high <= _METRES_TO
    if not is_robotiq and most > _ROBOTIQ_FROM:
      raise files.FileError(
        f"{name}: {NAME} is up to {most:g}, in Robotiq's unit of 0 to 255, "
        f'expected {low:g} to {high:g}: name the task that the file was '
        'recorded in'
      )
    if most > _MOST or not (is_robotiq or is_metres):
      return readings, False
    # A hand's metres are from 0 to 1, too, but end far below.
    self._is_part |= is_hil or (most > 0 if is_robotiq else most > 1.5 * high)
    if not self._is_part:
      return readings, False
    part = np.clip(readings, 0.0, 1.0)
    opened, closed = (low, high) if is_robotiq else (high, low)
    return closed + part * (opened - closed), True
