"""The shipper against a learner that comes and goes."""

import time

import pytest

pytest.importorskip('grpc', reason='it comes with the extra `launch`')

from serl.demos import log as log_lib
from serl.programs.distributed import rpc
from serl.programs.distributed import shipping
from serl.testing import fakes

SPEC = fakes.make_state_spec()


class Learner:
  """Holds what was inserted, as the learner and its replay do."""

  def __init__(self):
    self.restart()

  def restart(self):
    self.down = self.mute = self.refuses = False
    self.episodes = []
    self.count = 0

  def inserted_episodes(self, actor):
    self._check()
    assert actor == 'actor_0'
    return self.count

  def insert_episode(self, actor, index, episode):
    self._check()
    assert actor == 'actor_0'
    if self.refuses:
      raise ValueError('reward: missing')
    if index == self.count:
      self.episodes.append(episode)
      self.count += 1
    if self.mute:  # it was inserted, but the answer is lost
      self.mute = False
      raise rpc.CallError('no answer')
    return self.count

  def _check(self):
    if self.down:
      raise rpc.CallError('down')


@pytest.fixture
def learner():
  return Learner()


@pytest.fixture
def log(tmp_path):
  return log_lib.EpisodeLog(tmp_path, SPEC)


@pytest.fixture
def shipper(learner, log, monkeypatch):
  monkeypatch.setattr(shipping, '_RETRY_S', 0.01)
  made = shipping.Shipper(log, learner, 'actor_0')
  yield made
  made.close(10)


def _until(condition):
  deadline = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < deadline, 'it did not come'
    time.sleep(0.01)


def _lengths(learner):
  return [episode.length for episode in learner.episodes]


def test_sends_what_is_there_and_what_comes(learner, log, shipper):
  log.append(fakes.make_episode(SPEC, 3))
  shipper.start()
  _until(lambda: _lengths(learner) == [3])
  log.append(fakes.make_episode(SPEC, 5))
  shipper.notify()
  _until(lambda: learner.count == 2)
  assert _lengths(learner) == [3, 5]
  assert shipper.lost_since is None


def test_sends_nothing_twice_to_a_replay_that_has_it(learner, log, shipper):
  for length in (3, 4, 5):
    log.append(fakes.make_episode(SPEC, length))
  learner.count = 2
  shipper.start()
  _until(lambda: learner.count == 3)
  assert _lengths(learner) == [5]


def test_says_that_contact_is_lost_and_catches_up(learner, log, shipper):
  shipper.start()
  _until(lambda: shipper.lost_since is None)
  learner.down = True
  _until(lambda: shipper.lost_since is not None)
  log.append(fakes.make_episode(SPEC, 6))
  shipper.notify()
  learner.down = False
  _until(lambda: learner.count == 1)
  assert _lengths(learner) == [6]


def test_fresh_replay_gets_the_whole_log(learner, log, shipper):
  for length in (3, 4):
    log.append(fakes.make_episode(SPEC, length))
  shipper.start()
  _until(lambda: learner.count == 2)
  learner.restart()
  _until(lambda: learner.count == 2)
  assert _lengths(learner) == [3, 4]


def test_sends_nothing_twice_where_an_answer_is_lost(learner, log, shipper):
  for length in (3, 4):
    log.append(fakes.make_episode(SPEC, length))
  learner.mute = True
  shipper.start()
  _until(lambda: learner.count == 2)
  assert _lengths(learner) == [3, 4]


def test_an_episode_that_is_refused_is_not_sent_for_ever(learner, log, shipper):
  log.append(fakes.make_episode(SPEC, 3))
  learner.refuses = True
  shipper.start()
  _until(lambda: shipper.failure is not None)
  assert str(shipper.failure) == 'reward: missing'
  assert learner.episodes == []
