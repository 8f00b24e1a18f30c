"""Tests of the watchdog: real calls that block, in processes of their own."""

import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from serl.programs import watchdog
from serl.testing import fakes

_LIMITS = watchdog.Limits(step=1.0, reset=2.0)


class _Environment(fakes.FakeEnvironment):
  """Waits in one of its calls, for ever by default."""

  def __init__(self, waits_in, seconds=None):
    super().__init__(fakes.make_state_spec(), 5)
    self._waits_in, self._seconds = waits_in, seconds

  def _wait(self, call):
    if call == self._waits_in:
      threading.Event().wait(self._seconds)

  def reset(self):
    self._wait('reset')
    return super().reset()

  def step(self, action):
    self._wait('step')
    return super().step(action)

  def render(self, camera):
    self._wait('render')
    return camera

  def close(self):
    self._wait('close')


def _use(environment):
  environment.reset()
  for _ in range(3):
    environment.step(np.zeros(2, np.float32))
  environment.render('front')
  environment.close()


@pytest.mark.parametrize('call', ['reset', 'step', 'render', 'close'])
def test_a_call_that_does_not_return_is_named_and_interrupted(call):
  told = []
  with watchdog.Watchdog('actor_7', _LIMITS, told.append) as guard:
    environment = guard.make(lambda seed: _Environment(call), 0)
    with pytest.raises(watchdog.HungError) as raised:
      _use(environment)
  assert str(raised.value).startswith(
    f'actor_7: environment.{call} has not returned for '
  )
  assert '--reset-limit' in str(raised.value)
  assert told[0].startswith(f'environment.{call} has not returned for ')


def test_an_environment_that_cannot_be_made_is_named(monkeypatch):
  monkeypatch.setattr(watchdog, '_MAKING_S', 1.0)
  with (
    watchdog.Watchdog('report', watchdog.Limits(1.0, 1.0)) as guard,
    pytest.raises(watchdog.HungError, match='the construction of the envir'),
  ):
    guard.make(lambda seed: threading.Event().wait(), 0)


def test_what_returns_in_time_is_not_disturbed():
  told = []
  with watchdog.Watchdog('actor', _LIMITS, told.append) as guard:
    _use(guard.make(lambda seed: _Environment('step', 0.4), 0))
  assert told == []


def test_a_long_reset_has_an_allowance_of_its_own(monkeypatch):
  monkeypatch.setattr(watchdog, '_TOLD_S', 0.5)
  told, limits = [], watchdog.Limits(step=0.5, reset=60.0)
  with watchdog.Watchdog('actor', limits, told.append) as guard:
    environment = guard.make(lambda seed: _Environment('reset', 2.0), 0)
    environment.reset()
    deadline = time.monotonic() + 60
    while len(told) < 2 and time.monotonic() < deadline:
      time.sleep(0.1)
  # It is reported, and that it is over.
  assert told[0].startswith('environment.reset has not returned for ')
  assert told[1] == ''


def test_without_limits_it_waits():
  limits = watchdog.Limits(None, None)
  with watchdog.Watchdog('actor', limits) as guard:
    _use(guard.make(lambda seed: _Environment('step', 0.4), 0))


def test_the_environments_other_names_are_its_own():
  with watchdog.Watchdog('actor', _LIMITS) as guard:
    inner = fakes.FakeEnvironment(fakes.make_state_spec(), 5, success=1.0)
    environment = guard.make(lambda seed: inner, 0)
    assert not hasattr(environment, 'render')
    assert 'success' in environment.episode_metrics()


def _run(body):
  """Runs a program whose call cannot be interrupted."""
  program = f"""
import ctypes, threading, time
import dm_env
from serl.programs import watchdog
from serl.testing import fakes

class Environment(fakes.FakeEnvironment):
  def step(self, action):
    # In C: no signal interrupts it, and it takes no exception.
    libc = ctypes.CDLL(None)
    while True:
      libc.sleep(1000)
      try:
        time.sleep(0)
      except watchdog.HungError:
        pass

def use():
  limits = watchdog.Limits(1.0, 1.0)
  with watchdog.Watchdog('actor_0', limits) as guard:
    environment = guard.make(
      lambda seed: Environment(fakes.make_state_spec()), 0
    )
    environment.reset()
    environment.step(None)

{textwrap.dedent(body)}
"""
  return subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


def test_a_library_that_hangs_ends_the_process():
  done = _run('use()')
  assert done.returncode == 1
  assert 'actor_0: environment.step has not returned for' in done.stderr
  # Where each thread was.
  assert 'in step' in done.stderr


def test_outside_of_the_main_thread_the_process_ends():
  done = _run('thread = threading.Thread(target=use); thread.start()')
  assert done.returncode == 1
  assert 'actor_0: environment.step has not returned for' in done.stderr
