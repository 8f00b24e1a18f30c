import pytest

from serl.agents import builder
from serl.replay import mixing


def _table(name, fraction):
  return builder.TableSpec(name, 10, 1, fraction)


def test_shares_are_whole_and_sum_to_the_batch():
  tables = [_table('replay', 0.75), _table('demonstrations', 0.25)]
  assert mixing.shares(tables, 8) == {'replay': 6, 'demonstrations': 2}


def test_thirds_of_a_batch_that_has_them():
  tables = [_table(name, 1 / 3) for name in 'abc']
  assert mixing.shares(tables, 9) == {'a': 3, 'b': 3, 'c': 3}


def test_broken_transitions_are_refused():
  with pytest.raises(ValueError, match=r"'a' .* 0.5 of a batch of 7.* 3.5"):
    mixing.shares([_table('a', 0.5), _table('b', 0.5)], 7)


def test_fractions_must_sum_to_one():
  with pytest.raises(ValueError, match='does not sum to the batch size 8'):
    mixing.shares([_table('a', 0.5), _table('b', 0.25)], 8)
