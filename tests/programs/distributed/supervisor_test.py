"""The supervisor over real processes that are not Launchpad's."""

import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

from serl.programs import errors
from serl.programs import interrupt
from serl.programs import run_folder
from serl.programs.distributed import heartbeat
from serl.programs.distributed import launcher
from serl.programs.distributed import program as program_lib
from serl.programs.distributed import supervisor as supervisor_lib

_SLEEP = 'import time; print("up", flush=True); time.sleep(600)'
_STUBBORN = (
  f'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}'
)


@pytest.fixture
def supervise(tmp_path):
  """Makes a supervisor of one process for each script."""
  processes = []

  def start(**scripts):
    workers = {}
    for name, script in scripts.items():
      process = subprocess.Popen(
        [sys.executable, '-c', script, str(tmp_path)], stdout=subprocess.PIPE
      )
      if 'up' in script:
        process.stdout.readline()
      processes.append(process)
      workers[f'{name}/0'] = [process]
    manager = types.SimpleNamespace(_active_workers=workers)
    nodes = {name: program_lib.Node(tmp_path, name) for name in scripts}
    return supervisor_lib.Supervisor(nodes, manager), processes

  yield start
  for process in processes:
    process.kill()
    process.wait()
    process.stdout.close()


def _poll_until(supervisor, condition):
  deadline = time.monotonic() + 60
  while time.monotonic() < deadline:
    if condition(ended := supervisor.poll()):
      return ended
    time.sleep(0.05)
  raise AssertionError('it did not come')


def test_node_that_ends_well_is_named_once(supervise):
  supervisor, _ = supervise(learner='pass', actor_0=_SLEEP)
  assert _poll_until(supervisor, bool) == ['learner']
  assert supervisor.poll() == []
  assert supervisor.alive


def test_killed_node_is_named_with_its_last_traceback(supervise, tmp_path):
  supervisor, (learner, _) = supervise(learner=_SLEEP, actor_0=_SLEEP)
  path = run_folder.log(tmp_path, 'learner')
  path.parent.mkdir()
  path.write_text('Traceback: an older one\nok\nTraceback: this\n  one\n')
  learner.send_signal(signal.SIGKILL)
  with pytest.raises(errors.NodeDiedError) as raised:
    _poll_until(supervisor, bool)
  assert "The node 'learner' was killed by SIGKILL" in str(raised.value)
  assert str(raised.value).endswith('Traceback: this\n  one')


def test_stop_ends_all_and_says_nothing(supervise):
  supervisor, processes = supervise(
    learner=_SLEEP, evaluator=_SLEEP, actor_0=_SLEEP
  )
  supervisor.stop()
  assert not supervisor.alive
  assert {p.poll() for p in processes} == {-signal.SIGTERM}


def test_node_that_will_not_end_is_killed_and_named(supervise):
  supervisor, processes = supervise(learner=_STUBBORN, actor_0=_SLEEP)
  with pytest.raises(errors.NodeLateError, match='learner did not end within'):
    supervisor.stop(grace_s=0.5)
  assert [p.poll() for p in processes] == [-signal.SIGKILL, -signal.SIGTERM]


def test_what_follows_a_failure_is_told_after_it(supervise):
  supervisor, _ = supervise(actor_0='import sys; sys.exit(3)', learner=_SLEEP)
  with pytest.raises(errors.NodeDiedError, match='ended with code 3') as raised:
    _poll_until(supervisor, bool)
  assert supervisor.stop_after_failure(raised.value) is raised.value
  assert not supervisor.alive


def test_kill_leaves_nobody(supervise):
  supervisor, processes = supervise(learner=_STUBBORN, actor_0=_STUBBORN)
  supervisor.kill()
  assert not supervisor.alive
  assert {p.poll() for p in processes} == {-signal.SIGKILL}


@pytest.mark.parametrize('number', interrupt.SIGNALS)
def test_signals_are_noted_while_they_are_handled(supervise, number):
  supervisor, _ = supervise(learner=_SLEEP)
  before = signal.getsignal(number)
  with supervisor.handle_signals():
    assert not supervisor.interrupted
    signal.raise_signal(number)
    assert supervisor.interrupted
  assert signal.getsignal(number) is before


def test_what_launchpad_would_do_with_signals_ends_with_the_start():
  before = signal.getsignal(signal.SIGTERM)
  with launcher._keeping_signals():
    signal.signal(signal.SIGTERM, lambda *_: None)
  assert signal.getsignal(signal.SIGTERM) is before


_BEAT = """
import ctypes, faulthandler, pathlib, sys, time
from serl.programs.distributed import heartbeat

folder = pathlib.Path(sys.argv[1])
log = open(folder / 'logs' / 'actor_0.txt', 'w')
faulthandler.enable(log)
heartbeat._SILENCE_S = 1.0
heartbeat.start(folder, 'actor_0')
heartbeat.end_start(folder, 'actor_0')

def read_camera():
  {body}

print('up', flush=True)
read_camera()
"""
_SILENCES = {
  # Called with Python's lock, which no thread takes from it.
  'lock': 'ctypes.PyDLL(None).sleep(600)',
  'stop': 'time.sleep(600)',
}


@pytest.mark.parametrize('how', _SILENCES)
def test_silent_node_is_named_with_where_it_was(supervise, tmp_path, how):
  (tmp_path / 'logs').mkdir()
  beating = _BEAT.format(body=_SILENCES[how])
  supervisor, (actor, _) = supervise(actor_0=beating, learner=_SLEEP)
  if how == 'stop':
    actor.send_signal(signal.SIGSTOP)
  with pytest.raises(errors.NodeDiedError) as raised:
    _poll_until(supervisor, lambda ended: False)
  assert "'actor_0' gave no sign of life for 1 s" in str(raised.value)
  assert 'in read_camera' in str(raised.value)
  assert actor.poll() == -signal.SIGABRT
  assert supervisor.alive  # the learner, which ends as after any failure


def test_node_that_is_busy_or_starts_is_not_silent(supervise, tmp_path):
  (tmp_path / 'logs').mkdir()
  busy = _BEAT.format(body='while True: pass')
  supervisor, _ = supervise(actor_0=busy, learner=_SLEEP)
  deadline = time.monotonic() + 3
  while time.monotonic() < deadline:
    assert supervisor.poll() == []
    time.sleep(0.05)


def test_a_launcher_that_was_stopped_finds_no_node_silent(monkeypatch):
  now = 0.0
  monkeypatch.setattr(heartbeat.time, 'monotonic', lambda: now)
  file = pathlib.Path('absent')
  monitor = heartbeat.Monitor({'actor_0': file})
  now = 10_000.0
  assert not monitor.poll(['actor_0'])
  for _ in range(200):
    now += 1.0
    silent = monitor.poll(['actor_0'])
  assert silent == {'actor_0': pytest.approx(200, abs=1)}
