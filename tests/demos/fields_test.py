"""Tests for fields."""

import pytest

from serl.demos import fields
from serl.demos import files
from serl.demos import records
from serl.testing import fakes

_PATHS = ['observation/a', 'observation/b/c', 'observation/b/d', 'action/x']
_PATHS += ['action/y']


@pytest.mark.parametrize(
  ('keep', 'drop', 'expected'),
  [
    ((), (), 'a b/c b/d action/x action/y'),
    (('a',), (), 'action/x action/y a'),
    (('b',), ('b/d',), 'action/x action/y b/c'),
    (('action/y', 'action/x'), ('a', 'b/c'), 'b/d action/y action/x'),
    ((), ('observation/b', 'action/x'), 'a action/y'),
    (('action', 'a', 'a'), (), 'a action/x action/y'),
    ((), ('language',), 'a b/c b/d action/x action/y'),
  ],
)
def test_chooses_by_path_or_name(keep, drop, expected):
  choice = fields.Choice(keep, drop)
  chosen = fields.choose(_PATHS, choice, others=['language'])
  named = [path.removeprefix('observation/') for path in chosen]
  assert named == expected.split()


@pytest.mark.parametrize(
  ('drop', 'message'),
  [
    (('a', 'b'), 'nothing is left of the observation of observation/a, obs'),
    (('action',), 'nothing is left of the action'),
    (('wrist',), "no field 'wrist' .* among observation/a"),
    (('d',), "no field 'd' to keep or to drop"),
  ],
)
def test_refuses_a_choice_that_leaves_nothing(drop, message):
  with pytest.raises(files.FileError, match=message):
    fields.choose(_PATHS, fields.Choice(drop=drop))


def test_records_and_specs_are_cut_alike():
  spec = fakes.make_image_spec()
  record = records.Record('a', fakes.make_episode(spec, 3), {'n': 1})
  choice = fields.Choice(drop=('image',))
  cut = fields.select(record, choice)
  assert list(cut.episode.observation) == ['state']
  assert cut.metadata == record.metadata
  cut_spec = fields.select_spec(spec, choice)
  assert cut_spec.actions is spec.actions
  assert records.fit(cut, cut_spec).episode.length == 3
  with pytest.raises(files.FileError, match="a: no field 'wrist'"):
    fields.select(record, fields.Choice(keep=('wrist',)))
