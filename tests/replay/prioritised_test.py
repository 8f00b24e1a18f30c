"""Prioritised replay in either replay, through the one learner."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import specs
from serl import types
from serl.agents import builder
from serl.agents import learner as learner_lib

_STATES = 2000
_REWARDED = np.arange(50, _STATES, 100)  # states, 20 of them
_BATCH = builder.BatchSpec(4, 16)
_ROUNDS = 80

_SPEC = specs.EnvironmentSpec(
  observations=specs.Array((), np.float32),
  actions=specs.BoundedArray((), np.float32, 0.0, 1.0),
  rewards=specs.Array((), np.float32),
  discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
)


def _walk() -> types.Episode:
  """Returns a walk over a row of states, few of which reward the last step."""
  reward = np.zeros(_STATES, np.float32)
  reward[_REWARDED] = 1.0
  return types.Episode(
    observation=np.arange(_STATES + 1, dtype=np.float32),
    action=np.zeros(_STATES, np.float32),
    reward=reward,
    discount=1.0 - reward,
  )


class _State(NamedTuple):
  values: jax.Array  # [states + 1]


def _td_learning() -> builder.Algorithm:
  """TD(0) of a table: each value goes a tenth of the way to its target."""

  def step(values, batch):
    state = batch.observation.astype(int)
    following = values[batch.next_observation.astype(int)]
    td_error = batch.reward + 0.5 * batch.discount * following - values[state]
    # The mean of the rows that have the same state.
    count = jnp.zeros_like(values).at[state].add(1.0)
    move = jnp.zeros_like(values).at[state].add(batch.weight * td_error)
    return values + 0.1 * move / jnp.maximum(count, 1.0), jnp.abs(td_error)

  def update(state, batch):
    values, td_error = jax.lax.scan(step, state.values, batch)
    metrics = {'td_error_mean': td_error.mean(), builder.TD_ERROR: td_error}
    return _State(values), metrics

  return builder.Algorithm(lambda key: _State(jnp.zeros(_STATES + 1)), update)


def _learned(make_replay, sampler, seed):
  """Returns the mean value of the states before the rewards, truly 1."""
  table = builder.TableSpec('replay', 5000, 1, sampler=sampler)
  replay = make_replay([table], _SPEC, _BATCH, seed)
  replay.insert(_walk(), ['replay'])
  learner = learner_lib.Learner(
    _td_learning(),
    jax.random.PRNGKey(seed),
    iter(replay),
    replay.update_priorities if table.is_prioritised else None,
  )
  for _ in range(_ROUNDS):
    learner.step()
  return float(np.mean(learner.state.values[_REWARDED]))


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_learns_what_uniform_replay_does_not_in_the_same_updates(
  make_replay, seed
):
  # 5,120 draws of 2,000 transitions, of which 20 are rewarded.
  assert _learned(make_replay, builder.Prioritised(), seed) > 0.9
  assert _learned(make_replay, builder.Uniform(), seed) < 0.5
