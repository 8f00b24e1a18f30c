"""Tests for recording."""

import numpy as np
import pytest

from serl import specs
from serl.demos import files
from serl.demos import recording
from serl.testing import fakes


def _spec():
  return fakes.make_state_spec()


def _make(success, **kwargs):
  return lambda seed: fakes.FakeEnvironment(
    _spec(), seed=seed, success=success, **kwargs
  )


def _record(success, episodes, folder=None, **kwargs):
  actor = fakes.FakeActor(_spec())
  return recording.record(_make(success), actor, episodes, folder, **kwargs)


def test_records_as_many_as_asked_for(tmp_path):
  episodes = _record(1.0, 3, tmp_path)
  assert [e.length for e in episodes] == [10, 10, 10]
  (first, metadata) = files.read(tmp_path / '000000.npz', _spec())
  np.testing.assert_array_equal(first.action, episodes[0].action)
  assert len(files.paths(tmp_path)) == 3
  assert metadata['actor'] == 'FakeActor'
  assert metadata['episode_return'] == pytest.approx(first.reward.sum(), 1e-5)


def test_keeps_only_those_that_succeeded():
  # Of this environment's first three episodes, the seed lets some fail.
  taken = []
  keep = lambda metrics: (
    bool(taken.append(metrics['success'])) or (recording.succeeded(metrics))
  )
  episodes = _record(0.6, 5, keep=keep)
  assert len(episodes) == 5 == sum(taken)
  assert len(taken) > 5


def test_goes_on_with_other_episodes_where_it_was_interrupted(tmp_path):
  first = _record(1.0, 2, tmp_path)
  again = _record(1.0, 4, tmp_path)
  assert len(again) == 4
  np.testing.assert_array_equal(again[1].reward, first[1].reward)
  rewards = {e.reward.tobytes() for e in again}
  assert len(rewards) == 4  # none was recorded twice


def test_gives_up_on_an_actor_that_fails():
  with pytest.raises(recording.RecordingError, match='FakeActor gave 0 good'):
    _record(0.0, 3)


def test_keeps_what_was_recorded_before_it_gave_up(tmp_path):
  keep = lambda metrics: metrics['episodes'] <= 2
  with pytest.raises(
    recording.RecordingError, match=r'gave 2 good .*expected 5'
  ):
    _record(1.0, 5, tmp_path, keep=keep)
  assert len(files.paths(tmp_path)) == 2


def test_needs_to_be_told_what_a_success_is():
  with pytest.raises(recording.RecordingError, match='tells no success'):
    _record(None, 1)
  assert len(_record(None, 1, keep=lambda metrics: True)) == 1


def test_equal_seeds_record_equal_episodes():
  a, b, c = (_record(1.0, 1, seed=seed)[0] for seed in (3, 3, 4))
  np.testing.assert_array_equal(a.reward, b.reward)
  assert (a.reward != c.reward).any()


def test_loads_a_folder_a_file_or_a_list(tmp_path):
  episodes = _record(1.0, 2, tmp_path)
  for given in (tmp_path, str(tmp_path), episodes):
    loaded = recording.load(given, _spec())
    assert len(loaded) == 2
    np.testing.assert_array_equal(loaded[1].reward, episodes[1].reward)
  assert len(recording.load(tmp_path / '000001.npz', _spec())) == 1


def test_refuses_demonstrations_of_another_spec(tmp_path):
  episodes = _record(1.0, 1, tmp_path)
  other = _spec()._replace(actions=specs.Array((5,), np.float32))
  with pytest.raises(files.SpecError, match='actions: value'):
    recording.load(tmp_path, other)
  with pytest.raises(ValueError, match='action: '):
    recording.load(episodes, other)
