"""Which steps of an episode go where."""

import numpy as np
import pytest

from serl.replay import steps
from serl.testing import fakes

_SPEC = fakes.make_image_spec()


def test_names_alone_mean_every_step():
  chosen = steps.by_table(['a', 'b'], 3)
  assert list(chosen) == ['a', 'b']
  assert all(takes.tolist() == [True] * 3 for takes in chosen.values())


def test_each_table_can_have_steps_of_its_own():
  first = np.array([True, False])
  assert steps.by_table({'a': first}, 2)['a'] is first


@pytest.mark.parametrize('wrong', [np.ones(3, bool), np.ones(2, np.uint8)])
def test_other_steps_are_refused(wrong):
  with pytest.raises(ValueError, match=r"'a' the steps are .*bool \[2\]"):
    steps.by_table({'a': wrong}, 2)


@pytest.mark.parametrize(
  ('chosen', 'runs'),
  [
    ([0, 0, 0, 0], []),
    ([1, 1, 1, 1], [(0, 4)]),
    ([0, 1, 1, 0], [(1, 3)]),
    ([1, 0, 0, 1], [(0, 1), (3, 4)]),
  ],
)
def test_runs_of_steps_are_episodes_that_share_the_frames(chosen, runs):
  episode = fakes.make_episode(_SPEC, length=4)
  episode = episode._replace(extras={'late': np.arange(4)})
  pieces = list(steps.pieces(episode, np.array(chosen, bool)))
  assert len(pieces) == len(runs)
  for (first, piece), (begin, end) in zip(pieces, runs):
    assert first == begin
    np.testing.assert_array_equal(piece.action, episode.action[begin:end])
    np.testing.assert_array_equal(piece.extras['late'], np.arange(begin, end))
    frames = episode.observation['image'][begin : end + 1]
    np.testing.assert_array_equal(piece.observation['image'], frames)
    assert np.shares_memory(piece.observation['image'], frames)
    assert piece.length == end - begin
