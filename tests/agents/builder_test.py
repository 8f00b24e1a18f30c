"""Tests of builder."""

import numpy as np

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
