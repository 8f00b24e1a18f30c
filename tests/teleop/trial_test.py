"""Tests of trial."""

import numpy as np
import pytest

from serl.teleop import devices
from serl.teleop import trial


class _Device:
  """Gives commands one after another, the last one again and again."""

  def __init__(self, *commands):
    self._commands = list(commands)

  def read(self):
    some = self._commands
    x, closing = some.pop(0) if len(some) > 1 else some[0]
    motion = np.array((x, 0, 0, 0, 0, -x / 2), np.float32)
    return devices.Command(motion, closing)


def test_a_device_is_sound_when_it_was_moved_and_let_go_of():
  shown = []
  hand = _Device((0.0, 0), (0.3, 0), (-0.8, 1), (0.1, 0), (0.0, 0))
  seen = trial.watch({'hand': hand}, 60.0, shown.append)
  assert seen['hand'].was_seen
  assert trial.describe(seen) == 'hand: x -0.80, about z +0.40, closes'
  assert 'hand: x +0.30, about z -0.15, and it goes on' in shown


@pytest.mark.parametrize(
  'command, found',
  [
    ((0.0, 0), 'no clear motion'),
    ((0.0, -1), 'opens, no clear motion'),
    ((0.5, 0), 'it goes on'),  # such as drift
  ],
)
def test_one_that_is_not_moved_or_not_let_go_of_is_not(command, found):
  seen = trial.watch({'hand': _Device(command)}, 0.1, lambda text: None)
  assert not seen['hand'].was_seen and found in str(seen['hand'])


def test_all_are_to_be_moved():
  moved = _Device((0.9, 0), (0.0, 0))
  seen = trial.watch(
    {'a': moved, 'b': _Device((0.0, 0))}, 0.2, lambda text: None
  )
  assert [motion.was_seen for motion in seen.values()] == [True, False]
