"""Tests for local."""

import jax
import numpy as np
import pytest

from serl import specs
from serl import types
from serl.agents import builder
from serl.replay import local
from serl.replay import ring
from serl.testing import fakes

_BATCH = builder.BatchSpec(updates_per_round=3, batch_size=8)


def _online(max_size=1000, min_size=1, **kwargs):
  return builder.TableSpec('online', max_size, min_size, **kwargs)


def _counting_spec():
  return fakes.make_state_spec()._replace(
    observations=specs.Array((), np.float32),
    actions=specs.Array((), np.float32),
  )


def _counting_episode(begin, length):
  """Step i: observation i, action 10 i, reward 100 i; the next one is i + 1."""
  rows = np.arange(begin, begin + length + 1, dtype=np.float32)
  discount = np.ones(length, np.float32)
  discount[-1] = 0.0
  return types.Episode(rows, 10 * rows[:-1], 100 * rows[:-1], discount)


def _seen(replay, batches=60):
  """Returns every observation that was drawn, after checking its step."""
  seen = set()
  for _ in range(batches):
    batch = jax.tree.map(np.asarray, next(replay))
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 1)
    np.testing.assert_array_equal(batch.action, 10 * batch.observation)
    np.testing.assert_array_equal(batch.reward, 100 * batch.observation)
    seen.update(batch.observation.ravel().astype(int).tolist())
  return seen


def test_batches_have_the_shapes_and_dtypes_of_the_spec():
  spec = fakes.make_image_spec()
  replay = local.LocalReplay([_online()], spec, _BATCH)
  replay.insert(fakes.make_episode(spec))
  batch = next(replay)
  assert batch.observation['image'].shape == (3, 8, 8, 8, 3)
  assert batch.observation['image'].dtype == np.uint8
  assert batch.next_observation['state']['tcp_pos'].shape == (3, 8, 3)
  assert batch.action.shape == (3, 8, 2)
  assert batch.reward.shape == batch.discount.shape == (3, 8)


def test_no_transition_reaches_over_the_border_of_an_episode():
  replay = local.LocalReplay([_online()], _counting_spec(), _BATCH)
  for begin in (0, 100, 200, 300):
    replay.insert(_counting_episode(begin, length=5))
  assert replay.size('online') == 20
  # Every step is drawn; the last observations (5, 105, ...) start none.
  assert _seen(replay) == {b + i for b in (0, 100, 200, 300) for i in range(5)}


def test_the_discount_belongs_to_its_step():
  replay = local.LocalReplay([_online()], _counting_spec(), _BATCH)
  replay.insert(_counting_episode(0, length=5))
  for _ in range(10):
    batch = next(replay)
    np.testing.assert_array_equal(batch.discount, batch.observation != 4)


def test_the_oldest_transitions_go_first_even_of_half_an_episode():
  replay = local.LocalReplay([_online(max_size=12)], _counting_spec(), _BATCH)
  for begin in (0, 100, 200):
    replay.insert(_counting_episode(begin, length=5))
  assert replay.size('online') == 12
  assert _seen(replay) == {3, 4, *range(100, 105), *range(200, 205)}


def test_stays_whole_over_many_turns_of_the_ring():
  replay = local.LocalReplay([_online(max_size=40)], _counting_spec(), _BATCH)
  rng = np.random.default_rng(0)
  stored = []
  for turn in range(60):
    length = int(rng.integers(1, 30))
    replay.insert(_counting_episode(1000 * turn, length))
    stored += [1000 * turn + i for i in range(length)]
    assert replay.size('online') == min(40, len(stored))
    assert _seen(replay, batches=2) <= set(stored[-40:])
  assert _seen(replay) == set(stored[-40:])


def test_a_long_episode_takes_several_blocks():
  replay = local.LocalReplay([_online()], _counting_spec(), _BATCH)
  replay.insert(_counting_episode(0, length=300))
  assert _seen(replay, batches=150) == set(range(300))


def test_short_episodes_do_not_make_the_table_smaller():
  replay = local.LocalReplay([_online(max_size=500)], _counting_spec(), _BATCH)
  for i in range(600):
    replay.insert(_counting_episode(10 * i, length=1))
  assert replay.size('online') == 500
  assert _seen(replay, batches=300) == {10 * i for i in range(100, 600)}


def test_grows_without_losing_a_step(monkeypatch):
  monkeypatch.setattr(ring, '_INITIAL_BYTES', 16 * 20)
  replay = local.LocalReplay([_online(max_size=300)], _counting_spec(), _BATCH)
  for i in range(10):
    replay.insert(_counting_episode(100 * i, length=20))
  expected = {100 * i + j for i in range(10) for j in range(20)}
  assert _seen(replay, batches=150) == expected


def test_each_minibatch_holds_exactly_the_share_of_each_table():
  demonstrations = builder.TableSpec(
    'demonstrations', 100, 1, fraction=0.25, source='demonstrations'
  )
  replay = local.LocalReplay(
    [_online(fraction=0.75), demonstrations], _counting_spec(), _BATCH
  )
  replay.insert(_counting_episode(0, length=5))
  replay.insert(_counting_episode(1000, length=5), ['demonstrations'])
  for _ in range(10):
    batch = jax.tree.map(np.asarray, next(replay))
    assert (batch.observation[:, :6] < 1000).all()
    assert (batch.observation[:, 6:] >= 1000).all()
    np.testing.assert_array_equal(
      builder.demonstrated(batch), batch.observation >= 1000
    )
    assert (batch.weight == 1).all()


def test_an_episode_can_go_to_two_tables():
  tables = [
    _online(fraction=0.5),
    builder.TableSpec('interventions', 100, 1, 0.5, 'demonstrations'),
  ]
  replay = local.LocalReplay(tables, _counting_spec(), _BATCH)
  replay.insert(_counting_episode(0, 5), ['online', 'interventions'])
  assert replay.size('online') == replay.size('interventions') == 5


def test_a_table_can_have_some_of_the_steps():
  tables = [
    _online(fraction=0.5),
    builder.TableSpec('demonstrations', 100, 1, 0.5, 'demonstrations'),
  ]
  replay = local.LocalReplay(tables, _counting_spec(), _BATCH)
  chosen = np.zeros(8, bool)
  chosen[[0, 3, 4, 7]] = True
  masks = {'online': np.ones(8, bool), 'demonstrations': chosen}
  replay.insert(_counting_episode(0, 8), masks)
  # Episodes in which nobody intervened leave it alone.
  masks['demonstrations'] = np.zeros(8, bool)
  replay.insert(_counting_episode(100, 8), masks)
  assert replay.size('online') == 16
  assert replay.size('demonstrations') == 4
  seen = set()
  for _ in range(30):
    batch = jax.tree.map(np.asarray, next(replay))
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 1)
    seen.update(batch.observation[:, 4:].ravel().tolist())
  assert seen == {0, 3, 4, 7}


def test_equal_seeds_draw_equal_batches():
  batches = []
  for seed in (0, 0, 1):
    replay = local.LocalReplay([_online()], _counting_spec(), _BATCH, seed)
    replay.insert(_counting_episode(0, length=100))
    batches.append(np.asarray(next(replay).observation))
  np.testing.assert_array_equal(batches[0], batches[1])
  assert (batches[0] != batches[2]).any()


def test_insertion_compiles_once():
  replay = local.LocalReplay([_online()], _counting_spec(), _BATCH)
  replay.insert(_counting_episode(0, length=3))
  compiled = ring._scatter._cache_size()
  for length in (1, 7, 127, 130, 300):
    replay.insert(_counting_episode(0, length))
  assert ring._scatter._cache_size() == compiled


def test_waits_for_min_size_and_names_the_empty_table():
  tables = [
    _online(min_size=6, fraction=0.5),
    builder.TableSpec('demonstrations', 100, 1, 0.5, 'demonstrations'),
  ]
  replay = local.LocalReplay(tables, _counting_spec(), _BATCH)
  replay.insert(_counting_episode(0, 5))
  assert not replay.can_sample()
  with pytest.raises(RuntimeError, match=r"'online' holds 5 .* at least 6"):
    next(replay)
  replay.insert(_counting_episode(0, 5))
  with pytest.raises(RuntimeError, match="'demonstrations' holds 0"):
    next(replay)
  replay.insert(_counting_episode(0, 5), ['demonstrations'])
  assert replay.can_sample()
  next(replay)


def test_refuses_what_does_not_fit():
  replay = local.LocalReplay([_online(max_size=8)], _counting_spec(), _BATCH)
  with pytest.raises(ValueError, match=r'9 steps .* max_size 8'):
    replay.insert(_counting_episode(0, 9))
  with pytest.raises(KeyError, match=r"'onlin'.*'online'"):
    replay.insert(_counting_episode(0, 5), ['onlin'])
  with pytest.raises(ValueError, match='action: '):
    replay.insert(_counting_episode(0, 5)._replace(action=np.zeros(5)))
  assert replay.size('online') == 0


def test_refuses_a_batch_that_is_not_divisible():
  with pytest.raises(ValueError, match='whole'):
    local.LocalReplay([_online(fraction=0.3)], _counting_spec(), _BATCH)


@pytest.mark.parametrize(
  ('field', 'value'),
  [('remover', 'lifo'), ('remover', 'uniform'), ('make_table', print)],
)
def test_what_reverb_alone_can_do_is_refused(field, value):
  table = _online(**{field: value})
  message = rf"TableSpec.{field} of the table 'online' is .*programs\.launch"
  with pytest.raises(ValueError, match=message):
    local.LocalReplay([table], _counting_spec(), _BATCH)


def test_tables_of_the_same_name_are_refused():
  tables = [_online(fraction=0.5), _online(fraction=0.5)]
  with pytest.raises(ValueError, match=r"'online'\] stands there more than"):
    local.LocalReplay(tables, _counting_spec(), _BATCH)
