"""The learner's node, without its training."""

import threading

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

from serl import core
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
  (tmp_path / 'logs').mkdir()
  return learner_lib.Learner(config, None, process.Clock(0.0, 0.0))


def _sweep(successes):
  sweep = {'episodes': 3, 'episode_return': 7.0}
  return {**sweep, 'successes': successes, 'success': successes / 3}


def test_the_first_reason_to_end_stays(tmp_path):
  made = _make(tmp_path)
  assert made.progress('actor_0').over == ''
  made.evaluated(_sweep(2))
  assert made.progress('actor_0').over == ''
  made.evaluated(_sweep(3))
  assert made._end('the limit of 10 environment steps') is False
  reason = made.progress('actor_0').over
  assert reason == '3 of 3 evaluation episodes succeeded, mean return 7'


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
  assert ended == [made.progress('actor_0').over]


class _Training:
  """Compiles, and would take every step for overdue."""

  learner_steps = 0

  def __init__(self, made):
    self._made = made
    self.before = None  # how the learner stood while it compiled

  def compile(self):
    self.before = self._made.progress('actor_0'), self._made.get_variables(-1)

  def get_variables(self, after):
    return core.Variables({}, 0, 0.0)

  def overdue(self, env_steps):
    return float(env_steps)


def test_others_may_act_when_it_has_compiled(tmp_path, monkeypatch):
  made = _make(tmp_path)
  training = _Training(made)
  monkeypatch.setattr(learner_lib.training_lib, 'Training', lambda *_: training)
  monkeypatch.setattr(learner_lib.iterators, 'make_iterator', lambda *_: None)
  monkeypatch.setattr(made, '_insert_recorded', lambda _: None)
  made._replay = _Client()
  assert made.progress('actor_0').starting == 'it starts'
  made._training = made._make_training(None, process.Status(tmp_path, 'own'))
  before, variables = training.before
  # Neither at random nor by the policy.
  assert (before.starting, variables) == ('compiling', None)
  assert made.progress('actor_0').starting == ''
  assert made.get_variables(-1) is not None


class _Client:
  server_address = 'localhost:1'


def test_updates_are_overdue_only_where_the_tables_are_filled(tmp_path):
  made = _make(tmp_path)
  made._training = _Training(made)
  made._count('actor_0', 3, 50)
  made._count('actor_1', 1, 7)
  assert made.progress('actor_0').overdue is None
  made._is_filled = True
  assert made.progress('actor_0')[2:4] == (57.0, 3)
  assert made.progress('actor_1')[2:4] == (57.0, 1)
  assert made.progress('evaluator')[2:4] == (57.0, 0)
