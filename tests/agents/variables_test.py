"""Tests of variables."""

import threading
import time

import jax
import numpy as np
import pytest

from serl import core
from serl.agents import variables


class _Source:
  """Serves numbered versions; can be empty, blocked or broken."""

  def __init__(self):
    self.calls = 0
    self.version = 0
    self.age = 0.0
    self.empty = False
    self.error = None
    self.open = threading.Event()
    self.open.set()

  def get_variables(self, after):
    self.calls += 1
    self.asked_after = after
    assert self.open.wait(30)
    if self.error is not None:
      raise self.error
    if self.empty or self.version <= after:
      return None
    params = {'w': np.full(2, self.version, np.float32)}
    return core.Variables(params, self.version, self.age)


@pytest.fixture
def source():
  source = _Source()
  yield source
  source.open.set()


@pytest.fixture
def make_client(source):
  clients = []

  def make(period_s=0.0):
    clients.append(variables.VariableClient(source, period_s))
    return clients[-1]

  yield make
  source.open.set()
  for client in clients:
    client.close()


def _update_until(client, condition):
  deadline = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < deadline
    client.update()
    time.sleep(0.001)


def test_nothing_before_the_first(source, make_client):
  source.empty = True
  client = make_client()
  assert not client.wait(0.05)
  assert client.params is None
  assert client.learner_steps is None
  assert client.age is None
  assert source.calls > 0
  source.empty = False
  assert client.wait(30)
  assert client.learner_steps == 0


def test_update_never_waits(source, make_client):
  source.open.clear()
  client = make_client()
  for _ in range(100):
    # The source answers nothing yet: a call that waited would hang.
    assert not client.update()
  assert source.calls <= 1
  source.open.set()
  assert client.wait(30)


def test_takes_newer_params_and_says_so(source, make_client):
  client = make_client(period_s=0.01)
  source.open.clear()
  client.update()
  _update_until(client, lambda: source.calls == 1)
  assert source.asked_after == -1
  source.open.set()
  client.wait(30)
  source.version = 5
  _update_until(client, lambda: client.learner_steps == 5)
  np.testing.assert_array_equal(client.params['w'], [5, 5])
  assert isinstance(client.params['w'], jax.Array)
  _update_until(client, lambda: source.asked_after == 5)


def test_update_tells_of_a_change_once(source, make_client):
  client = make_client()
  changes = 0
  for _ in range(50):
    changes += client.update()
    time.sleep(0.001)
  assert source.calls > 1
  assert changes == 1


def test_fetches_once_a_period(source, make_client):
  client = make_client(period_s=1000.0)
  client.wait(30)
  source.version = 1
  for _ in range(100):
    client.update()
  assert source.calls == 1
  assert client.learner_steps == 0


def test_age_counts_from_the_publication(source, make_client):
  source.age = 100.0
  client = make_client(period_s=1000.0)
  assert client.metrics() == {}
  client.wait(30)
  first = client.age
  assert 100 <= first < 160
  time.sleep(0.01)
  assert client.age >= first + 0.01
  metrics = client.metrics()
  assert metrics['params_age'] > first
  assert metrics['params_step'] == 0


def test_a_failure_is_kept_until_a_fetch_works(source, make_client):
  client = make_client()
  client.wait(30)
  assert client.failure is None
  source.error = ConnectionError('no learner')
  _update_until(client, lambda: client.failure and client.failure.count >= 2)
  failure = client.failure
  assert failure.error is source.error
  assert failure.since <= time.monotonic()
  assert client.learner_steps == 0  # goes on with what it has
  source.error = None
  _update_until(client, lambda: client.failure is None)


def test_a_failure_is_logged_once_with_its_cause(source, make_client, caplog):
  source.error = ConnectionError('no learner')
  client = make_client()
  _update_until(client, lambda: client.failure and client.failure.count >= 5)
  warnings = [
    r.getMessage() for r in caplog.records if r.levelname == 'WARNING'
  ]
  assert len(warnings) == 1
  assert 'no learner' in warnings[0]
