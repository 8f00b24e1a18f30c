"""What the README says is run, so that it stays true."""

import pathlib
import re
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parent.parent
_README = (_ROOT / 'README.md').read_text()


def _blocks(language: str) -> list[str]:
  return re.findall(rf'```{language}\n(.*?)```', _README, re.DOTALL)


def test_composing_in_code_and_using_the_policy(tmp_path):
  code, use = _blocks('python')
  assert len(code.strip().splitlines()) <= 20
  # The same composition, shorter and in this process.
  assert 'programs.launch(config)' in code
  code = code.replace('programs.launch', 'programs.run_local').replace(
    'stop_at_successes=20', 'evaluation_episodes=1, max_env_steps=1200'
  )
  done = _run(code, tmp_path)
  assert 'Ended: the limit of 1,200 environment steps.' in done.stdout
  assert (tmp_path / 'runs/composed/learning_curve.png').exists()
  use = use.replace('runs/quickstart', 'runs/composed')
  done = _run(f'{_OBSERVE}{use}print(action.shape)', tmp_path)
  assert done.stdout.splitlines()[-1] == '(4,)'


_OBSERVE = """
from serl.environments.sim import pick_cube
observation = pick_cube.make(0).reset().observation
"""


def _run(code: str, folder: pathlib.Path) -> subprocess.CompletedProcess:
  script = folder / 'script.py'
  script.write_text(code)
  done = subprocess.run(
    [sys.executable, script],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done


@pytest.mark.parametrize(
  'command',
  sorted(
    {
      line.split('#')[0].split()[1]
      for block in _blocks('sh')
      for line in block.splitlines()
      if line.startswith('make ')
    }
  ),
)
def test_make_has_the_target(command):
  subprocess.run(
    ['make', '--dry-run', command],
    cwd=_ROOT,
    check=True,
    capture_output=True,
  )


@pytest.mark.parametrize(
  'arguments',
  [
    line.split('#')[0].split()[1:]
    for block in _blocks('sh')
    for line in block.splitlines()
    if line.startswith(('python ', '.venv/bin/python '))
  ],
  ids=lambda arguments: arguments[-1].lstrip('-'),
)
def test_command_knows_its_flags(arguments):
  # With --help the flags before it are parsed: an unknown one is an error.
  done = subprocess.run(
    [sys.executable, *arguments, '--help'],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert 'Unknown command line flag' not in done.stderr
  assert 'unrecognized arguments' not in done.stderr
  assert '--' in done.stdout, done.stderr


@pytest.mark.parametrize('path', re.findall(r'\]\((?!http)([^)#]+)\)', _README))
def test_links_lead_somewhere(path):
  assert (_ROOT / path).exists()


@pytest.mark.parametrize(
  'path',
  [
    p
    for row in re.findall(r'^\| (`.*?) \|', _README, re.M)
    for p in re.findall(r'`(serl/[a-z/_]+|benchmarks|docs)`', row)
  ],
)
def test_layout_names_folders_that_exist(path):
  assert (_ROOT / path).is_dir()
