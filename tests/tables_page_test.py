"""What docs/tables.md shows is run, so that it stays true."""

import re

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

from serl.agents import builder
from serl.utils import loggers
from tests import pages

pytestmark = pytest.mark.timeout(900)


def test_the_tables_of_the_page_are_learned_from(tmp_path):
  code = '\n'.join(pages.blocks('docs/tables.md'))
  assert 'programs.launch(config)' in code
  # A smaller agent, a shorter run.
  agent = 'batch_size=16, hidden_sizes=(16,), min_replay_size=100'
  for shown, instead in (
    ('sac.cpu()', f'sac.SACConfig(critic_members=2, {agent})'),
    ('builder=agent,', 'builder=agent, evaluate=False, max_env_steps=200,'),
    (', 5, folder)', ', 1, folder)'),
  ):
    assert shown in code
    code = code.replace(shown, instead)
  done = pages.run(code, tmp_path)
  assert 'Ended: the limit of 200 environment steps.' in done.stdout
  last = loggers.read_metrics(tmp_path / 'runs/tables', 'learner')[-1]
  assert last['learner_steps'] > 0
  sizes = [last[f'{t}_size'] for t in ('replay', 'greedy', 'shown', 'hasty')]
  # An episode is not cut off at the limit, and its steps may still be on their
  # way to one table or the other when the sizes are read.
  assert min(sizes[:2]) >= 200 and min(sizes[2:]) > 0


def test_every_field_has_a_row():
  rows = ' '.join(
    re.findall(r'^\| (`.*?) \|', pages.read('docs/tables.md'), re.MULTILINE)
  )
  fields = builder.TableSpec.__dataclass_fields__
  assert set(re.findall(r'`(\w+)`', rows)) == set(fields)
