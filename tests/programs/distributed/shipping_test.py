"""The shipper against a ledger and a replay that come and go."""

import time

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

import numpy as np
import reverb

from serl.demos import log as log_lib
from serl.programs import training
from serl.programs.distributed import shipping
from serl.replay import packing
from serl.replay import tables
from serl.testing import fakes
from tests.programs.distributed import fake_run

SPEC = fakes.make_state_spec()


class Learner:
  """Holds what was inserted, as the learner and its replay do."""

  def __init__(self):
    self.restart()

  def restart(self):
    self.down = False
    self.episodes = []
    self.count = 0

  def insert(self, episode):
    self._check()
    self.episodes.append(episode)

  def inserted_episodes(self, actor):
    self._check()
    assert actor == 'actor_0'
    return self.count

  def episode_inserted(self, actor, index):
    self._check()
    assert index == self.count
    self.count += 1

  def _check(self):
    if self.down:
      raise ConnectionError('down')


@pytest.fixture
def learner():
  return Learner()


@pytest.fixture
def log(tmp_path):
  return log_lib.EpisodeLog(tmp_path, SPEC)


@pytest.fixture
def shipper(learner, log, monkeypatch):
  monkeypatch.setattr(shipping, '_RETRY_S', 0.01)
  made = shipping.Shipper(log, learner.insert, learner, 'actor_0')
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


def test_steps_of_a_person_are_demonstrations_live_and_from_the_log(
  tmp_path,
):
  config = fake_run.make_config(tmp_path / 'run')
  log = log_lib.EpisodeLog(tmp_path / 'log', fake_run.SPEC)
  by_person = np.uint8((0, 1, 1, 0, 0, 1, 0, 0, 0, 0))
  episode = fakes.make_episode(fake_run.SPEC)
  log.append(episode._replace(extras={'intervened': by_person}))
  log.append(episode)  # by a launch in which nobody could
  for _ in range(2):  # the second replay is a fresh one
    made = tables.make_tables(config.builder.make_tables(), fake_run.SPEC)
    server = reverb.Server(made)
    client = reverb.Client(f'localhost:{server.port}')
    insert = shipping.make_insert(
      client,
      packing.Packing(fake_run.SPEC),
      lambda found: training.destinations(config, found),
    )
    ledger = Learner()
    shipper = shipping.Shipper(log, insert, ledger, 'actor_0')
    shipper.start()
    _until(lambda of=ledger: of.count == 2)
    shipper.close(10)
    sizes = {name: s.size for name, s in tables.states(client).items()}
    assert sizes == {'replay': 20, 'demonstrations': 3}
    server.stop()
