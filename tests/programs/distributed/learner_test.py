"""The learner's node beside a replay that falls silent."""

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

from serl.programs.distributed import learner as learner_lib
from serl.replay import tables


class Replay:
  """States that come, or do not."""

  def __init__(self):
    self.silent = False
    self.size = 0

  def states(self, client):
    del client
    if self.silent:
      raise ConnectionError('The replay server did not answer in 5 s')
    self.size += 1
    return {'replay': tables.TableState(self.size, self.size)}


@pytest.fixture
def replay(monkeypatch):
  replay = Replay()
  monkeypatch.setattr(learner_lib.tables, 'states', replay.states)
  monkeypatch.setattr(learner_lib, '_POLL_S', 0.0)
  return replay


def test_a_replay_that_is_silent_for_a_while_ends_nothing(replay):
  watched = learner_lib._Watched(None)
  assert watched.states()['replay'].size == 2
  replay.silent = True
  for _ in range(3):
    assert watched.states()['replay'].size == 2
  replay.silent = False
  assert watched.states()['replay'].size == 3


def test_a_replay_that_stays_silent_ends_the_learner(replay, monkeypatch):
  watched = learner_lib._Watched(None)
  replay.silent = True
  watched.states()
  monkeypatch.setattr(learner_lib, '_SILENCE_S', 0.0)
  with pytest.raises(ConnectionError, match='did not answer'):
    watched.states()
  assert watched.last['replay'].size == 1  # what a last checkpoint goes by
