"""Tests for content."""

import numpy as np
import pytest

from serl.demos import content
from serl.demos import files
from serl.testing import fakes

_SPEC = fakes.make_state_spec()


def _episode(**changes):
  return fakes.make_episode(_SPEC, 4)._replace(**changes)


def _demand(*episodes, rewarded=True):
  counted = content.Content()
  for episode in episodes:
    counted.add(episode)
  counted.demand('DEMOS', rewarded)


def _still():
  observation = _episode().observation
  return {name: column * 0 + column[:1] for name, column in observation.items()}


@pytest.mark.parametrize(
  ('changes', 'named'),
  [
    ({'reward': np.zeros(4, np.float32)}, 'nothing is rewarded'),
    ({'reward': np.float32([0, -0.1, 0, 0])}, 'nothing is rewarded'),
    ({'observation': _still()}, 'all observations'),
    ({'action': np.zeros_like(_episode().action)}, 'no action moves'),
  ],
)
def test_what_shows_nothing_is_refused_with_counts(changes, named):
  empty = _episode(**changes)
  with pytest.raises(
    files.FileError, match=rf'DEMOS: .*2 demonstrations, 8 steps(.|\n)*{named}'
  ):
    _demand(empty, empty)
  # Among others it does no harm.
  _demand(empty, _episode())


def test_rewards_need_not_be_there_where_nobody_learns_from_them():
  _demand(_episode(reward=np.zeros(4, np.float32)), rewarded=False)
  with pytest.raises(files.FileError, match='no action moves'):
    _demand(_episode(action=np.zeros_like(_episode().action)), rewarded=False)


@pytest.mark.parametrize(
  ('reward', 'expected'),
  [
    ([0, 0, 1], True),
    ([0, -0.1, 1], True),
    ([-1, -1, 0], True),
    ([-1, -1, -1], True),
    ([0.2, 0.2, 0.2], True),
    ([0, 0, 0], False),
    ([0, -0.1, 0], False),
  ],
)
def test_costs_alone_are_no_rewards(reward, expected):
  assert content.is_rewarded(np.float32(reward)) == expected
