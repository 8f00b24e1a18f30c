"""Tests for transitions."""

import pickle

import numpy as np
import pytest

from serl.demos import files
from serl.demos import recording
from serl.demos import transitions
from serl.testing import fakes

Counts = transitions.Counts


def _spec():
  return fakes.make_state_spec()


class _Ending(fakes.FakeEnvironment):
  """Succeeds in the last steps of an episode, of 10."""

  def __init__(self, successes, seed):
    super().__init__(_spec(), seed=seed)
    self._successes = successes

  def step_extras(self):
    return {'success': np.uint8(self._step > 10 - self._successes)}


def _record(folder, target, successes=3, **kwargs):
  make = lambda seed: _Ending(successes, seed)
  actor = fakes.FakeActor(_spec())
  return transitions.record(make, actor, Counts(*target), folder, **kwargs)


def test_records_until_there_are_enough_of_both(tmp_path):
  assert _record(tmp_path, (2, 20)) == (9, 21)
  assert len(files.paths(tmp_path)) == 3
  episode, metadata = files.read(files.paths(tmp_path)[0], _spec())
  labels = episode.extras['success']
  assert labels.tolist() == [0] * 7 + [1] * 3
  assert labels.dtype == np.uint8
  assert metadata['actor'] == 'FakeActor'


def test_what_is_there_already_counts(tmp_path):
  _record(tmp_path, (3, 7))
  assert _record(tmp_path, (3, 7)) == (3, 7)
  assert _record(tmp_path, (4, 7)) == (6, 14)
  rewards = [files.read(p)[0].reward.tobytes() for p in files.paths(tmp_path)]
  assert len(set(rewards)) == 2  # none was recorded twice


def test_a_person_labels_each_step(tmp_path):
  labels = iter([False, True, True, False, False] * 2)
  counts = _record(tmp_path, (1, 1), label=lambda: next(labels))
  assert counts == (4, 6)
  (path,) = files.paths(tmp_path)
  episode, _ = files.read(path)
  assert episode.extras['success'].tolist() == [0, 1, 1, 0, 0] * 2


def test_gives_up_when_nothing_new_comes(tmp_path):
  with pytest.raises(
    recording.RecordingError, match=r'in 3 .*successes=0, failures=50.*more'
  ):
    _record(tmp_path, (1, 20), successes=0, patience=3)
  # The first two brought failures, which were missing.
  assert len(files.paths(tmp_path)) == 5


class _Operator(recording.Operator):
  def __init__(self, discard=(), stop_after=None):
    self._discard, self._stop_after = list(discard), stop_after
    self.reports = []

  def report(self, counts):
    self.reports.append(counts)

  def wants_discard(self):
    return self._discard.pop(0) if self._discard else False

  def wants_stop(self):
    return len(self.reports) == self._stop_after


def test_counts_without_what_was_discarded(tmp_path):
  operator = _Operator(discard=[True, True])
  assert _record(tmp_path, (6, 1), operator=operator) == (6, 14)
  assert [r['successes'] for r in operator.reports] == [3, 3, 6]
  assert [path.stem for path in files.paths(tmp_path)] == ['000001', '000002']


def test_a_stop_keeps_what_is_finished(tmp_path):
  counts = _record(tmp_path, (99, 99), operator=_Operator(stop_after=2))
  assert counts == (6, 14)
  assert len(files.paths(tmp_path)) == 2


def test_one_class_alone_is_labelled_so(tmp_path):
  episodes = tmp_path / 'episodes'
  _record(episodes, (1, 1))
  for success in (True, False):
    for episode in transitions.load(episodes, success):
      assert (episode.extras['success'] == success).all()

  # As SERL records it: each transition by itself.
  shot = lambda value: {
    'observations': {'state': np.full((1, 2), value, np.float32)},
    'next_observations': {'state': np.full((1, 2), value + 1, np.float32)},
    'actions': np.zeros(2, np.float32),
    'rewards': 0.0,
    'masks': 1.0,
    'dones': False,
  }
  pickled = tmp_path / 'failures.pkl'
  pickled.write_bytes(pickle.dumps([shot(10.0 * i) for i in range(3)]))
  found = transitions.load(pickled, False)
  assert [episode.extras['success'].tolist() for episode in found] == [[0]] * 3


def test_somebody_must_tell_the_labels(tmp_path):
  make = lambda seed: fakes.FakeEnvironment(_spec(), seed=seed)
  actor = fakes.FakeActor(_spec())
  with pytest.raises(recording.RecordingError, match='tells no success'):
    transitions.record(make, actor, Counts(1, 1), tmp_path)
  recording.record(make, actor, 1, tmp_path, keep=lambda _: True)
  with pytest.raises(
    recording.RecordingError, match=r"extras \[\], expected 's"
  ):
    transitions.record(make, actor, Counts(1, 1), tmp_path, label=lambda: True)
