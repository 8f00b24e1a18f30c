"""Tests for summary."""

import numpy as np

from serl.demos import records
from serl.demos import summary
from serl.testing import fakes


def _records():
  spec = fakes.make_image_spec()
  found = []
  for i, success in enumerate((1, 0, None)):
    episode = fakes.make_episode(spec, length=4 + i, seed=i)
    episode = episode._replace(reward=np.full(4 + i, 2.0, np.float32))
    episode.discount[-1] = i
    if success is not None:
      extras = {'success': np.full(4 + i, success, np.uint8)}
      episode = episode._replace(extras=extras)
    found.append(records.Record(f'number {i}', episode))
  return spec, found


def test_counts_what_is_there():
  spec, found = _records()
  told = summary.summarise(iter(found), spec)
  assert told.lengths.tolist() == [4, 5, 6]
  assert told.returns.tolist() == [8, 10, 12]
  assert told.terminated.tolist() == [True, False, False]
  np.testing.assert_array_equal(told.successes, [1, 0, np.nan])
  assert told.actions['action'].shape == (15, 2)
  positions = np.concatenate(
    [r.episode.observation['state']['tcp_pos'] for r in found]
  )
  seen = told.ranges['observation/state/tcp_pos']
  assert (seen.least, seen.greatest) == (positions.min(), positions.max())
  np.testing.assert_allclose(seen.mean, positions.mean(), rtol=1e-5)
  assert told.films == []


def test_success_may_be_told_by_the_metadata():
  spec, found = _records()
  record = found[2]._replace(metadata={'success': True})
  assert summary.summarise([record], spec).successes.tolist() == [1]


def test_a_film_is_spread_over_the_episode():
  spec, found = _records()
  told = summary.summarise(found, spec, film_episodes=2, film_frames=3)
  first, second = told.films
  assert first.name == 'number 0'
  assert first.steps.tolist() == [0, 2, 4]
  np.testing.assert_array_equal(
    second.cameras['image'][2], found[1].episode.observation['image'][5]
  )
