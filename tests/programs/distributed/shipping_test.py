"""The shipper against a learner that comes and goes."""

import time

import numpy as np
import pytest

pytest.importorskip('grpc', reason='it comes with the extra `launch`')

from serl.programs import run_folder
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
    self.count = self.passed_steps = 0

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

  def pass_over(self, actor, begin, end, steps):
    self._check()
    assert actor == 'actor_0'
    assert begin == self.count < end
    self.count = end
    self.passed_steps += steps
    return self.count

  def _check(self):
    if self.down:
      raise rpc.CallError('down')


@pytest.fixture
def learner():
  return Learner()


@pytest.fixture
def log(tmp_path):
  return _open_log(tmp_path)


@pytest.fixture
def shipper(learner, log, monkeypatch):
  monkeypatch.setattr(shipping, '_RETRY_S', 0.01)
  made = shipping.Shipper(log, learner, 'actor_0', 100)
  yield made
  made.close(10)


def _open_log(run):
  environment = fakes.FakeEnvironment(SPEC)
  return run_folder.open_log(run, 'actor_0', environment)


@pytest.fixture
def folder(tmp_path):
  return run_folder.episodes(tmp_path, 'actor_0')


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


def test_a_damaged_episode_is_set_aside_and_the_rest_is_sent(
  learner, log, folder, shipper, tmp_path, caplog
):
  for length in (3, 4, 5, 6):
    log.append(fakes.make_episode(SPEC, length))
  torn = (folder / '000001.npz').read_bytes()[:-40]
  (folder / '000001.npz').write_bytes(torn)
  (folder / '000002.npz').unlink()  # by a person
  shipper.start()
  _until(lambda: learner.count == 4)
  log.append(fakes.make_episode(SPEC, 7))
  shipper.notify()
  _until(lambda: learner.count == 5)
  assert _lengths(learner) == [3, 6, 7]
  assert shipper.failure is None
  aside = tmp_path / 'damaged' / 'episodes' / 'actor_0' / '000001.npz'
  assert aside.read_bytes() == torn
  assert run_folder.damaged_episodes(tmp_path) == 1
  told = [r.message for r in caplog.records if r.levelname == 'ERROR']
  assert 'episodes/actor_0/000001.npz: torn or damaged' in told[0]
  # The one that was deleted cannot be set aside.
  assert len(told) == 2


def test_damage_shifts_no_episode_of_a_learner_that_lives_on(
  learner, log, folder, tmp_path
):
  for length in (3, 4, 5, 6):
    log.append(fakes.make_episode(SPEC, length))
  learner.count = 3  # the first three are in
  (folder / '000001.npz').write_bytes(b'')
  shipper = shipping.Shipper(_open_log(tmp_path), learner, 'actor_0', 100)
  shipper.start()
  _until(lambda: learner.count == 4)
  shipper.close(10)
  assert _lengths(learner) == [6]


def test_only_what_the_tables_hold_is_sent(learner, log):
  for number in range(20):
    episode = fakes.make_episode(SPEC, 4, number)
    by_person = np.uint8((0, number in (3, 4), 0, 0))
    log.append(episode._replace(extras={'intervened': by_person}))
  shipper = shipping.Shipper(log, learner, 'actor_0', 10)
  shipper.start()
  _until(lambda: learner.count == 20)
  shipper.close(10)
  # The newest whole episodes, and those in which a person demonstrated.
  numbers = (3, 4, 17, 18, 19)
  assert len(learner.episodes) == len(numbers)
  for sent, number in zip(learner.episodes, numbers):
    expected = fakes.make_episode(SPEC, 4, number).reward
    np.testing.assert_array_equal(sent.reward, expected)
  assert learner.passed_steps == 15 * 4
