"""What docs/tables.md shows is run, so that it stays true."""

import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

from serl.agents import builder
from serl.utils import loggers

pytestmark = pytest.mark.timeout(900)

_PAGE = (pathlib.Path(__file__).parent.parent / 'docs/tables.md').read_text()


def test_the_tables_of_the_page_are_learned_from(tmp_path):
  code = '\n'.join(re.findall(r'```python\n(.*?)```', _PAGE, re.DOTALL))
  assert 'programs.launch(config)' in code
  shorter = 'builder=agent, evaluate=False, max_env_steps=1200,'
  script = tmp_path / 'tables.py'
  script.write_text(code.replace('builder=agent,', shorter))
  done = subprocess.run(
    [sys.executable, script],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert 'Ended: the limit of 1,200 environment steps.' in done.stdout
  last = loggers.read_metrics(tmp_path / 'runs/tables', 'learner')[-1]
  assert last['learner_steps'] > 0
  sizes = [last[f'{t}_size'] for t in ('replay', 'greedy', 'shown', 'hasty')]
  assert sizes[:2] == [1200, 1200] and min(sizes[2:]) > 0


def test_every_field_has_a_row():
  rows = ' '.join(re.findall(r'^\| (`.*?) \|', _PAGE, re.MULTILINE))
  fields = builder.TableSpec.__dataclass_fields__
  assert set(re.findall(r'`(\w+)`', rows)) == set(fields)
