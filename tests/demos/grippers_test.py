"""Tests for grippers: readings of 0 to 1, 0 to 255 and in metres."""

import numpy as np
import pytest

from serl import specs
from serl.demos import files
from serl.demos import grippers

_ROBOTIQ = specs.BoundedArray((1,), np.float32, 0.0, 255.0)
_HAND = specs.BoundedArray((1,), np.float32, 0.0, 0.08)
_PART = specs.BoundedArray((1,), np.float32, 0.0, 1.0)


def _convert(readings, leaf, is_hil=False, units=None):
  units = units or grippers.Units()
  column = np.array(readings, np.float32)[:, None]
  found, converted = units.convert('a', column, leaf, is_hil)
  assert converted == (found is not column)
  return found[:, 0].tolist()


@pytest.mark.parametrize(
  ('readings', 'leaf', 'expected'),
  [
    # 1 is open, which a Robotiq's 0 is.
    ([1.0, 0.5, 0.0], _ROBOTIQ, [0, 127.5, 255]),
    ([0.2, 0.2, 0.2], _ROBOTIQ, [204, 204, 204]),
    ([3.0, 100.0, 228.0], _ROBOTIQ, [3, 100, 228]),
    ([1.0, 0.5, 0.0], _HAND, [0.08, 0.04, 0]),
    ([0.08, 0.079, 0.01], _HAND, [0.08, 0.079, 0.01]),
    ([1.0, 0.5, 0.0], _PART, [1, 0.5, 0]),
    ([1.0, 0.5], specs.Array((1,), np.float32), [1, 0.5]),
  ],
)
def test_readings_are_told_by_their_range(readings, leaf, expected):
  np.testing.assert_allclose(_convert(readings, leaf), expected, rtol=1e-6)


@pytest.mark.parametrize('leaf', [_HAND, _PART])
def test_what_cannot_be_converted_is_refused(leaf):
  with pytest.raises(files.FileError, match="in Robotiq's unit of 0 to 255"):
    _convert([3.0, 228.0], leaf)


def test_a_gripper_that_stays_closed_is_told_by_what_else_is_known():
  assert _convert([0.0, 0.0], _ROBOTIQ) == [0, 0]
  assert _convert([0.0, 0.0], _ROBOTIQ, is_hil=True) == [255, 255]
  units = grippers.Units()
  _convert([0.5, 0.0], _ROBOTIQ, units=units)
  assert _convert([0.0, 0.0], _ROBOTIQ, units=units) == [255, 255]
