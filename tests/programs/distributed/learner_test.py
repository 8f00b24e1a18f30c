"""The learner's node, without its training."""

import threading

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

from serl.programs.distributed import learner as learner_lib
from serl.programs.distributed import process
from serl.replay import tables
from tests.programs.distributed import fake_run


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


def _make(tmp_path):
  config = fake_run.make_config(tmp_path, environment_spec=fake_run.SPEC)
  return learner_lib.Learner(config, None, process.Clock(0.0, 0.0))


def test_the_first_reason_to_end_stays(tmp_path):
  made = _make(tmp_path)
  assert made.over('actor_0') == ''
  made.evaluated(2, 3)
  assert made.over('actor_0') == ''
  made.evaluated(3, 3)
  assert made._end('the limit of 10 environment steps') is False
  assert made.over('actor_0') == '3 of 3 evaluation episodes succeeded'


def test_of_two_reasons_at_once_one_is_given(tmp_path):
  made = _make(tmp_path)
  start, ended = threading.Barrier(8), []

  def end(index):
    start.wait()
    if made._end(f'reason {index}'):
      ended.append(f'reason {index}')

  threads = [threading.Thread(target=end, args=(i,)) for i in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert ended == [made.over('actor_0')]
