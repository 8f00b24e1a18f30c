"""Tests of builder."""

import dataclasses
import json

import numpy as np
import pytest

from serl import types
from serl.agents import builder


def _table(name, source, fraction=0.25):
  return builder.TableSpec(name, 10, 1, fraction, source)


def test_sources_have_indices_by_the_tables_that_they_fill():
  tables = [
    _table('replay', 'online'),
    _table('best', 'person'),
    _table('again', 'person'),
    _table('script', 'scripted'),
  ]
  assert builder.sources(tables) == ('online', 'goals', 'person', 'scripted')
  # What is added behind changes no index.
  more = (*tables, _table('goals', 'goals'), _table('late', 'late'))
  assert builder.sources(more)[:4] == builder.sources(tables)


def test_rows_are_demonstrated_wherever_they_stand():
  tables = [_table('script', 'scripted'), _table('best', 'person')]
  names = ('scripted', 'online', 'person', 'goals')
  indices = [builder.sources(tables).index(name) for name in names]
  zeros = np.zeros(4, np.float32)
  transition = types.Transition(zeros, zeros, zeros, zeros, zeros)
  batch = types.Batch.uniform(transition)
  assert not builder.demonstrated(batch).any()
  batch = batch._replace(source=np.int32(indices))
  assert builder.demonstrated(batch).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
  ('field', 'value', 'expected'),
  [
    ('name', '', 'not empty'),
    ('name', ' ', 'not empty'),
    ('name', None, 'a string'),
    ('max_size', 0, r'a whole number in \[1'),
    ('max_size', 1e6, 'a whole number'),
    ('max_size', True, 'a whole number'),
    ('min_size', 0, r'a whole number in \[1'),
    ('min_size', 11, 'at most max_size, 10'),
    ('fraction', 0.0, r'in \(0, 1\]'),
    ('fraction', 1.5, r'in \(0, 1\]'),
    ('fraction', float('nan'), r'in \(0, 1\]'),
    ('fraction', '1', r'in \(0, 1\]'),
    ('source', '', 'not empty'),
    ('source', ['online'], 'a string'),
    ('sampler', 'uniform', 'Uniform or Prioritised'),
    ('sampler', builder.Prioritised, 'Uniform or Prioritised'),
    ('remover', 'oldest', 'fifo.*lifo.*uniform.*lowest_priority'),
    ('remover', 'lowest_priority', r'the sampler Prioritised\(\)'),
    ('samples_per_insert', 0.0, r'in \(0'),
    ('samples_per_insert', float('inf'), r'in \(0'),
    ('samples_per_insert', float('nan'), r'in \(0'),
    ('n_step', 0, r'a whole number in \[1'),
    ('n_step', 2.5, 'a whole number'),
    ('crosses_interventions', 1, 'True or False'),
    ('takes_interventions', None, 'True or False'),
    ('make_table', 'reverb.Table', 'a function or None'),
  ],
)
def test_wrong_values_of_a_table_are_refused(field, value, expected):
  with pytest.raises(
    ValueError, match=rf'^TableSpec.{field} is .*expected .*{expected}'
  ):
    dataclasses.replace(_table('replay', 'online'), **{field: value})


def test_recorded_tables_are_never_sampled_out():
  with pytest.raises(ValueError, match="None where 'shown' fills the table"):
    dataclasses.replace(_table('a', 'shown'), samples_per_insert=2.0)
  assert dataclasses.replace(_table('a', 'online'), samples_per_insert=2)


@pytest.mark.parametrize('field', ['exponent', 'importance_exponent'])
@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan'), None, True])
def test_wrong_exponents_are_refused(field, value):
  with pytest.raises(ValueError, match=rf'Prioritised.{field} is .*\[0, 1\]'):
    builder.Prioritised(**{field: value})


def test_a_table_is_described_as_plain_data():
  plain = _table('replay', 'online')
  shaped = dataclasses.replace(
    plain,
    sampler=builder.Prioritised(0.5),
    n_step=3,
    make_table=test_a_table_is_described_as_plain_data,
  )
  described = shaped.describe()
  assert json.loads(json.dumps(described)) == described
  assert described['sampler'] == {
    'kind': 'Prioritised',
    'exponent': 0.5,
    'importance_exponent': 0.4,
  }
  assert described['make_table'].endswith('_described_as_plain_data')
  assert plain.describe() != described


_BATCH = builder.BatchSpec(2, 8)


def test_tables_of_the_same_name_are_refused():
  tables = [_table('a', 'online', 0.5), _table('a', 'shown', 0.5)]
  with pytest.raises(ValueError, match=r"\['a', 'a'\].*\['a'\] stands there"):
    builder.check_tables(tables, _BATCH)
  tables[1] = dataclasses.replace(tables[1], name='b')
  assert builder.check_tables(tables, _BATCH) == tuple(tables)


def test_shares_are_whole_and_sum_to_the_batch():
  tables = [_table('replay', 'online', 0.75), _table('shown', 'shown', 0.25)]
  assert builder.shares(tables, 8) == {'replay': 6, 'shown': 2}


def test_thirds_of_a_batch_that_has_them():
  tables = [_table(name, 'online', 1 / 3) for name in 'abc']
  assert builder.shares(tables, 9) == {'a': 3, 'b': 3, 'c': 3}


def test_broken_rows_are_refused():
  tables = [_table('a', 'online', 0.5), _table('b', 'online', 0.5)]
  with pytest.raises(
    ValueError, match=r"batch_size 7 .* 0.5 of table 'a'.*3.5"
  ):
    builder.shares(tables, 7)


def test_fractions_must_sum_to_one():
  tables = [_table('a', 'online', 0.5), _table('b', 'online', 0.25)]
  for check in (
    builder.shares,
    lambda t, size: builder.check_tables(t, _BATCH),
  ):
    with pytest.raises(ValueError, match='not sum to the batch size 8'):
      check(tables, 8)
