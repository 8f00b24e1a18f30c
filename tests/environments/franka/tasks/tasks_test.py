"""Tests for the tasks by name."""

import pytest

from serl.environments.franka import tasks
from serl.environments.franka.tasks import peg_insert


def test_a_task_has_a_name():
  assert tasks.load('peg_insert') is peg_insert.VISION


def test_a_task_may_be_in_a_file(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(
    'from serl.environments.franka.tasks import peg_insert\n'
    'CONFIG = peg_insert.STATE\n'
  )
  assert tasks.load(path) == peg_insert.STATE


def test_another_name_is_refused():
  with pytest.raises(ValueError, match=r"'pick_cube'; expected one of .*peg"):
    tasks.load('pick_cube')


def test_a_file_without_a_config_is_refused(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('CONFIG = 3\n')
  with pytest.raises(ValueError, match='CONFIG=3'):
    tasks.load(path)
