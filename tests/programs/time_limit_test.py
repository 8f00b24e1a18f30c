import pytest

from serl.programs import time_limit
from tests.programs.distributed import fake_run


def _make(more=0.0, **fields):
  clock = [100.0]
  config = fake_run.make_config('run', **fields)
  return time_limit.TimeLimit(config, more, lambda: clock[0]), clock


def test_counts_from_the_first_update():
  limit, clock = _make(time_limit_s=60.0)
  clock[0] += 1000
  assert limit.reached() == ''
  limit.note_update()
  clock[0] += 59
  limit.note_update()
  assert limit.reached() == ''
  clock[0] += 1
  assert limit.reached() == 'the limit of 1 min'


@pytest.mark.parametrize(
  'fields, more, seconds',
  [
    ({'time_limit_s': 60.0}, 0.0, 1800),
    ({'time_limit_s': 60.0, 'start_limit_s': 90.0}, 0.0, 90),
    ({'time_limit_s': 60.0, 'start_limit_s': 30.0}, 0.0, 60),
    ({'time_limit_s': 60.0, 'start_limit_s': 90.0}, 30.0, 120),
  ],
)
def test_the_first_update_has_a_limit_of_its_own(fields, more, seconds):
  limit, clock = _make(more, **fields)
  clock[0] += seconds - 1
  assert limit.reached() == ''
  clock[0] += 1
  assert limit.reached() == f'no update within {seconds / 60:g} min'


def test_without_a_limit_there_is_none():
  limit, clock = _make()
  clock[0] += 1e9
  assert limit.reached() == ''
