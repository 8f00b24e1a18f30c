"""What the page on environments shows is run, by both programs."""

import importlib.util
import re

import pytest

from tests import pages

_BLOCKS = pages.blocks('docs/environments.md')
_SMALL = """sac.SACConfig(
  batch_size=8, updates_per_round=2, critic_members=2, hidden_sizes=(8, 8),
  min_replay_size=100,
)"""
_LIMITS = 'max_env_steps=300, random_steps=100, evaluate=False'

pytestmark = pytest.mark.timeout(600)


def _block(package: str) -> str:
  (found,) = (block for block in _BLOCKS if package in block)
  if importlib.util.find_spec(package) is None:
    pytest.skip(f'{package} is not installed: it takes another MuJoCo')
  return found


@pytest.mark.parametrize('block', _BLOCKS)
def test_ten_lines_are_enough(block):
  lines = [line for line in block.splitlines() if line.strip()]
  assert len(lines) <= 10


@pytest.mark.parametrize('program', ['run_local', 'launch'])
@pytest.mark.parametrize('package', ['dm_control', 'gym_hil'])
def test_trains(package, program, tmp_path):
  if program == 'launch':
    pytest.importorskip('launchpad', reason='the extra [launch] is missing')
  code = _block(package)
  assert 'programs.launch(config)' in code
  for shown, small in (
    ('sac.sac()', _SMALL),
    ('make_environment=make,', f'make_environment=make, {_LIMITS},'),
    ('programs.launch(config)', f'programs.{program}(config)'),
    # Episodes of 100 steps.
    ("'walk')", "'walk', action_repeat=10)"),
  ):
    code = code.replace(shown, small)
  done = pages.run(code, tmp_path)
  assert 'the limit of 300 environment steps' in done.stdout, done.stderr
  (learned,) = re.findall(r'(\d+) learner steps, .* min', done.stdout)
  assert int(learned) > 0
