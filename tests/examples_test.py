import pathlib
import subprocess
import sys

import pytest

_EXAMPLES = sorted(
  (pathlib.Path(__file__).parent.parent / 'examples').glob('*.py')
)


@pytest.mark.parametrize('path', _EXAMPLES, ids=lambda path: path.stem)
def test_is_short(path):
  assert len(path.read_text().splitlines()) <= 80


@pytest.mark.parametrize('path', _EXAMPLES, ids=lambda path: path.stem)
def test_runs_for_some_steps(path, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      path,
      '--local',
      f'--run={tmp_path / "run"}',
      '--max-env-steps=1200',
      '--steps-per-second=0',
      '--updates-per-step=0.5',
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert '1,200 environment steps' in done.stdout
  assert (tmp_path / 'run' / 'learning_curve.png').exists()
  assert list((tmp_path / 'run' / 'checkpoints').iterdir())


@pytest.mark.parametrize('path', _EXAMPLES, ids=lambda path: path.stem)
def test_help_explains_its_flags(path):
  done = subprocess.run(
    [sys.executable, path, '--help'],
    capture_output=True,
    text=True,
    check=False,
  )
  for flag in ('--run', '--preset', '--role', '--minutes'):
    assert flag in done.stdout
