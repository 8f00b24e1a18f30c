"""Transitions of several steps, by either replay."""

import dataclasses

import jax
import numpy as np
import pytest

from serl import types
from serl.agents import builder
from serl.replay import keys
from serl.replay import steps
from serl.testing import fakes

SPEC = fakes.make_image_spec()
_DISCOUNT = 0.9


def _episode(rewards, discounts, by_person=None):
  rewards = np.float32(rewards)
  extras = {}
  if by_person is not None:
    extras = {types.INTERVENED: np.uint8(by_person)}
  rows = np.arange(len(rewards) + 1, dtype=np.float32)
  return types.Episode(rows, rows[:-1], rewards, np.float32(discounts), extras)


def _span(n_step, crosses=False):
  return steps.Span(n_step, crosses)


def test_by_hand_up_to_a_time_limit():
  episode = _episode([1, 2, 4, 8], [1, 1, 1, 1])
  found = steps.spanning(episode, _span(3), 0.5)
  # The last two are shorter, and bootstrap from the last observation.
  assert found.length.tolist() == [3, 3, 2, 1]
  assert found.reward.tolist() == [1 + 1 + 1, 2 + 2 + 2, 4 + 4, 8]
  # The agent multiplies by its own discount once more.
  assert found.discount.tolist() == [0.25, 0.25, 0.5, 1.0]


def test_by_hand_up_to_a_termination():
  episode = _episode([1, 2, 4, 8], [1, 1, 1, 0])
  found = steps.spanning(episode, _span(3), 0.5)
  assert found.reward.tolist() == [3, 6, 8, 8]
  assert found.discount.tolist() == [0.25, 0, 0, 0]


def test_the_discounts_of_the_environment_count():
  episode = _episode([1, 2, 4, 8], [0.5, 1, 0, 1])
  found = steps.spanning(episode, _span(4), 1.0)
  assert found.length.tolist() == [3, 2, 1, 1]
  assert found.reward.tolist() == [1 + 1 + 2, 2 + 4, 4, 8]
  assert found.discount.tolist() == [0, 0, 0, 1]


def test_none_crosses_the_border_of_an_intervention_unless_asked_to():
  by_person = [0, 0, 1, 1, 0]
  episode = _episode([1, 2, 4, 8, 16], np.ones(5), by_person)
  found = steps.spanning(episode, _span(3), 1.0)
  assert found.length.tolist() == [2, 1, 2, 1, 1]
  assert found.reward.tolist() == [3, 2, 12, 8, 16]
  assert found.discount.tolist() == [1] * 5
  crossing = steps.spanning(episode, _span(3, crosses=True), 1.0)
  assert crossing.length.tolist() == [3, 3, 3, 2, 1]


@pytest.mark.parametrize('n_step', [1, 2, 7, 1000])
def test_matches_a_loop_over_the_steps(n_step):
  rng = np.random.default_rng(n_step)
  episode = _episode(
    rng.normal(size=60),
    rng.choice([0.0, 0.5, 1.0], 60, p=[0.1, 0.1, 0.8]),
    rng.uniform(size=60) < 0.3,
  )
  found = steps.spanning(episode, _span(n_step), _DISCOUNT)
  by_person = episode.extras[types.INTERVENED]
  for t in range(60):
    total, factor, end = 0.0, 1.0, t
    while True:
      total += factor * episode.reward[end]
      factor *= _DISCOUNT * episode.discount[end]
      end += 1
      if factor == 0 or end in (60, t + n_step):
        break
      if by_person[end] != by_person[t]:
        break
    assert found.length[t] == end - t
    np.testing.assert_allclose(found.reward[t], total, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
      found.discount[t] * _DISCOUNT, factor, rtol=1e-5, atol=1e-9
    )


def _random_episodes():
  rng = np.random.default_rng(0)
  for seed, length in enumerate((13, 1, 2, 30, 4)):
    episode = fakes.make_episode(SPEC, length, seed)
    if seed % 2:
      episode.discount[-1] = 0.0
    by_person = (rng.uniform(size=length) < 0.4).astype(np.uint8)
    yield episode._replace(extras={types.INTERVENED: by_person})


_TABLES = (
  builder.TableSpec('single', 1000, 1, 0.25),
  builder.TableSpec('three', 1000, 1, 0.25, n_step=3),
  builder.TableSpec('person', 1000, 1, 0.25, 'shown', n_step=4),
  builder.TableSpec(
    'crossing', 1000, 1, 0.25, 'shown', n_step=4, crosses_interventions=True
  ),
)
_BATCH = builder.BatchSpec(8, 256, discount=_DISCOUNT)


def _expected(table):
  """Returns the transitions of a table, as rows of numbers, sorted."""
  rows = []
  for episode in _random_episodes():
    span = steps.span_of(table)
    found = steps.spanning(episode, span, _DISCOUNT)
    by_person = episode.extras[types.INTERVENED].astype(bool)
    takes = by_person if table.is_demonstrated else np.ones_like(by_person)
    for t in np.flatnonzero(takes):
      end = t + found.length[t]
      at = lambda row: [
        leaf[row].ravel().astype(np.float32)
        for leaf in jax.tree.leaves(episode.observation)  # noqa: B023
      ]
      rows.append(
        np.concatenate(
          [
            *at(t),
            episode.action[t],
            [found.reward[t], found.discount[t]],
            *at(end),
          ]
        )
      )
  return np.unique(np.stack(rows), axis=0)


def _rows(batch):
  """Returns the transitions of a batch [N, ...] as rows of numbers."""
  flat = lambda leaf: leaf.reshape(len(leaf), -1).astype(np.float32)
  return np.concatenate(
    list(map(flat, jax.tree.leaves(types.Transition(*batch[:5])))), axis=1
  )


def _drawn(replay):
  """Returns all transitions of each table, which few draws miss none of."""
  share = _BATCH.batch_size // len(_TABLES)
  rows = {table.name: [] for table in _TABLES}
  for _ in range(3):
    batch = jax.tree.map(np.asarray, next(replay))
    for place, table in enumerate(_TABLES):
      part = jax.tree.map(
        lambda x: x[:, place * share : (place + 1) * share].reshape(  # noqa: B023
          -1, *x.shape[2:]
        ),
        batch,
      )
      source = builder.sources(_TABLES).index(table.source)
      assert (part.source == source).all()
      rows[table.name].append(_rows(part))
  return {
    name: np.unique(np.concatenate(r), axis=0) for name, r in rows.items()
  }


def test_both_replays_give_these_transitions(make_replay):
  replay = make_replay(_TABLES, SPEC, _BATCH)
  for episode in _random_episodes():
    by_person = episode.extras[types.INTERVENED].astype(bool)
    takes = {
      table.name: by_person
      if table.is_demonstrated
      else np.ones(episode.length, bool)
      for table in _TABLES
    }
    replay.insert(episode, takes)
  found = _drawn(replay)
  for table in _TABLES:
    expected = _expected(table)
    assert found[table.name].shape == expected.shape, table.name
    np.testing.assert_allclose(found[table.name], expected, rtol=1e-6)


def test_the_oldest_transitions_go_first_however_far_they_reach(make_replay):
  table = builder.TableSpec('three', 6, 1, n_step=3)
  replay = make_replay([table], SPEC, dataclasses.replace(_BATCH, batch_size=8))
  for seed in range(3):
    replay.insert(fakes.make_episode(SPEC, 5, seed), ['three'])
  kept = [fakes.make_episode(SPEC, 5, seed).action for seed in range(3)]
  kept = np.unique(np.concatenate(kept)[-6:], axis=0)
  batch = jax.tree.map(np.asarray, next(replay))
  np.testing.assert_array_equal(
    np.unique(batch.action.reshape(-1, 2), axis=0), kept
  )


def test_several_steps_need_the_discount_of_the_agent(make_replay):
  batch_spec = dataclasses.replace(_BATCH, discount=None)
  with pytest.raises(ValueError, match=r"'three' has n_step 3, expected 1"):
    make_replay(_TABLES, SPEC, batch_spec).__next__()


def test_priorities_of_what_was_drawn(make_replay):
  table = builder.TableSpec(
    'replay', 100, 1, sampler=builder.Prioritised(1.0, 0.5)
  )
  batch_spec = builder.BatchSpec(4, 512)
  replay = make_replay([table], SPEC, batch_spec)
  replay.insert(fakes.make_episode(SPEC, 4), ['replay'])
  batch = jax.tree.map(np.asarray, next(replay))
  assert (batch.weight == 1).all()  # all have the same priority
  # 1, 2, 3 and 4, by the actions.
  actions, which = np.unique(
    batch.action.reshape(-1, 2), axis=0, return_inverse=True
  )
  assert len(actions) == 4
  td_error = np.float32(which.reshape(4, 512) + 1)
  replay.update_priorities(batch.key, td_error)
  for _ in range(20):  # what was drawn before comes first
    batch = jax.tree.map(np.asarray, next(replay))
  _, which = np.unique(batch.action.reshape(-1, 2), axis=0, return_inverse=True)
  rates = np.bincount(which.ravel()) / which.size
  np.testing.assert_allclose(rates, np.arange(1, 5) / 10, atol=0.05)
  # The inverse square root of the probability, the largest of them 1.
  weight = np.power(which.reshape(4, 512) + 1.0, -0.5)
  np.testing.assert_allclose(batch.weight, weight, rtol=1e-4)
  # What is new has the largest priority that there was, 4 of 14 then.
  new = fakes.make_episode(SPEC, 1, seed=9)
  replay.insert(new, ['replay'])
  for _ in range(20):
    batch = jax.tree.map(np.asarray, next(replay))
  rate = (batch.action == new.action[0]).all(axis=-1).mean()
  np.testing.assert_allclose(rate, 4 / 14, atol=0.05)


def test_the_priority_of_what_is_gone_is_dropped(make_replay):
  table = builder.TableSpec('replay', 4, 1, sampler=builder.Prioritised(1.0))
  replay = make_replay([table], SPEC, builder.BatchSpec(1, 64))
  replay.insert(fakes.make_episode(SPEC, 4, seed=0), ['replay'])
  old = jax.tree.map(np.asarray, next(replay))
  replay.insert(fakes.make_episode(SPEC, 4, seed=1), ['replay'])
  for _ in range(20):
    next(replay)
  # An error of 0 would let what stands in its place be drawn no more.
  replay.update_priorities(old.key, np.zeros((1, 64), np.float32))
  for _ in range(20):
    batch = jax.tree.map(np.asarray, next(replay))
  assert len(np.unique(keys.unpack(batch.key))) == 4
  assert (batch.weight == 1).all()


def test_errors_of_another_shape_than_the_batch_are_refused(make_replay):
  table = builder.TableSpec('replay', 9, 1, sampler=builder.Prioritised())
  replay = make_replay([table], SPEC, builder.BatchSpec(1, 4))
  with pytest.raises(ValueError, match=r"'td_error' .* shape \[4\], expected"):
    replay.update_priorities(np.zeros((1, 4, 2), np.uint32), np.zeros(4))


def test_of_two_tables_the_prioritised_one_is_weighed(make_replay):
  tables = [
    builder.TableSpec('new', 9, 1, 0.5, sampler=builder.Prioritised(1.0, 1.0)),
    builder.TableSpec('shown', 9, 1, 0.5, 'shown'),
  ]
  replay = make_replay(tables, SPEC, builder.BatchSpec(2, 32))
  replay.insert(fakes.make_episode(SPEC, 5), ['new', 'shown'])
  batch = jax.tree.map(np.asarray, next(replay))
  td_error = np.tile(np.arange(1.0, 33.0), (2, 1))
  replay.update_priorities(batch.key, td_error)
  for _ in range(20):
    batch = jax.tree.map(np.asarray, next(replay))
  assert len(np.unique(batch.weight[:, :16])) > 1
  assert (batch.weight[:, 16:] == 1).all()
  np.testing.assert_array_equal(batch.weight[:, :16].max(axis=1), [1, 1])
