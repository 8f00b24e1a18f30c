import os
import socket
import subprocess
import sys

import pytest

from serl import programs
from serl.utils import loggers
from tests.programs.distributed import fake_run


def _run(*arguments, **variables):
  return subprocess.run(
    [sys.executable, fake_run.__file__, *arguments],
    stdin=subprocess.DEVNULL,
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    check=False,
  )


def test_resume_needs_a_run(tmp_path):
  done = _run(f'--run={tmp_path / "run"}', '--local', '--resume')
  assert done.returncode == 1
  assert f'--resume: {tmp_path / "run"} holds no run' in done.stderr
  assert not (tmp_path / 'run').exists()


def test_user_errors_come_without_a_traceback(tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  done = _run(f'--run={tmp_path}', '--local')
  assert done.returncode == 1
  assert 'is not empty (thesis.tex)' in done.stderr
  assert 'Traceback' not in done.stderr


def test_a_person_needs_a_device(tmp_path):
  done = _run(f'--run={tmp_path / "run"}', '--local', '--intervene=keyboard')
  assert done.returncode == 1
  assert 'no terminal that keys could come from' in done.stderr
  assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
  'flags, told',
  [
    (('--local', '--role=actor', '--port-base=9000'), '--role=actor is of sev'),
    (('--local', '--video'), '--step and --video are of --evaluate'),
  ],
)
def test_flags_that_would_do_nothing_are_refused(tmp_path, flags, told):
  done = _run(f'--run={tmp_path / "run"}', *flags)
  assert done.returncode == 1 and told in done.stderr
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('local', [(), ('--local',)])
def test_a_live_port_in_use_is_named_with_its_flag(tmp_path, local):
  if not local:
    pytest.importorskip('launchpad')
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    done = _run(f'--run={tmp_path / "run"}', f'--live-port={port}', *local)
  assert done.returncode == 1
  told = done.stderr.splitlines()[-1]
  assert told.startswith(f'Port {port} cannot be listened on (')
  assert 'choose another live_port (--live-port)' in told
  assert 'Traceback' not in done.stderr


def test_devices_that_do_not_start_end_a_program_at_once(tmp_path):
  done = _run(f'--run={tmp_path / "run"}', '--local', XLA_FLAGS='--banana')
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line.startswith("XLA_FLAGS='--banana': JAX does not start with it")
  assert not (tmp_path / 'run').exists()


def test_without_launchpad_a_sentence_says_what_to_do(tmp_path, monkeypatch):
  module = 'serl.programs.distributed.program'
  monkeypatch.delitem(sys.modules, module, raising=False)
  # As on a Python that it has no wheels for.
  monkeypatch.setitem(sys.modules, 'launchpad', None)
  config = fake_run.make_config(tmp_path / 'run')
  with pytest.raises(
    programs.LaunchpadMissingError, match=r'--local, programs\.run_local'
  ):
    programs.launch(config)
  assert not (tmp_path / 'run').exists()


def test_a_step_names_the_task_that_it_is_of(tmp_path):
  run = tmp_path / 'run'
  for task, step in (('there', 20), ('back', 15)):
    (run / task / 'checkpoints' / str(step)).mkdir(parents=True)
  # The one has no checkpoint of the other's step.
  done = _run(f'--run={run}', '--alternating', '--evaluate=2', '--step=20')
  assert done.returncode == 1
  expected = "step is '20'; expected there:STEP or back:STEP of a checkpoint"
  assert expected in done.stderr
  assert f'{run / "there"}: [20]' in done.stderr
  assert f'{run / "back"}: [15]' in done.stderr


def test_sweeps_as_often_as_wanted(tmp_path):
  flags = ('--local', '--steps-per-second=0', '--max-env-steps=60')
  sweeps = {}
  for period in (0.001, 1000):
    run = tmp_path / str(period)
    done = _run(f'--run={run}', *flags, f'--evaluation-period={period}')
    assert done.returncode == 0, done.stderr
    sweeps[period] = len(loggers.read_metrics(run, 'evaluator'))
  # The last one is of the end.
  assert sweeps[1000] == 1 < sweeps[0.001]


def test_local_run_goes_on_with_resume(tmp_path):
  flags = (f'--run={tmp_path / "run"}', '--local', '--steps-per-second=0')
  first = _run(*flags, '--max-env-steps=40')
  assert first.returncode == 0, first.stderr
  again = _run(*flags, '--max-env-steps=70', '--resume')
  assert again.returncode == 0, again.stderr
  assert '70 environment steps' in again.stdout


def test_a_mistake_in_code_keeps_its_traceback(tmp_path):
  # Of the user's environment: a ValueError, but no refusal.
  done = _run(f'--run={tmp_path / "run"}', '--local', '--fault=bug')
  assert done.returncode == 1
  assert 'Traceback' in done.stderr
  assert 'operands could not be broadcast together' in done.stderr


def test_a_robot_that_fails_for_ever_is_told_in_a_line(tmp_path):
  done = _run(
    f'--run={tmp_path / "run"}',
    '--local',
    '--steps-per-second=0',
    '--fault=dead',
    '--fault-minutes=0.01',
  )
  assert done.returncode == 1
  assert 'No step has succeeded for ' in done.stderr
  assert 'Traceback' not in done.stderr


def test_a_run_that_learns_nothing_is_no_success(tmp_path):
  flags = ('--local', '--steps-per-second=0', '--max-env-steps=10')
  done = _run(f'--run={tmp_path / "run"}', *flags)
  assert done.returncode == 3
  assert 'Not a success: ' in done.stdout.splitlines()[-1]
