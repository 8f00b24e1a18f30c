"""Tests of learner."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import types
from serl.agents import builder
from serl.agents import learner
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config


class _State(NamedTuple):
  total: jax.Array


def _sum_algorithm():
  """Adds up its batches and reports the sum and its logarithm."""

  def update(state, batch):
    total = state.total + batch
    return _State(total), {'total': total, 'log': jnp.log(batch)}

  return builder.Algorithm(lambda key: _State(jnp.zeros(())), update)


def _make(batches):
  return learner.Learner(
    _sum_algorithm(), jax.random.PRNGKey(0), iter(np.float32(batches))
  )


def test_a_step_takes_a_batch_and_counts():
  sums = _make([1, 2, 3])
  assert float(sums.step()['total']) == 1
  assert float(sums.step()['total']) == 3
  assert sums.learner_steps == 2
  assert float(sums.state.total) == 3


def test_names_the_metric_and_the_step_that_went_wrong():
  sums = _make([1, 2, -1, 4, 5])
  for _ in range(3):
    sums.step()
  # The third round's metrics are read while the fourth runs.
  with pytest.raises(learner.NonFiniteError, match='step 3 gave log = nan'):
    sums.step()
  with pytest.raises(learner.NonFiniteError) as caught:
    sums.step()
  assert caught.value.learner_step == 3
  assert list(caught.value.metrics) == ['log']


def test_does_not_save_a_round_that_went_wrong():
  sums = _make([1, 0])
  sums.step()
  assert sums.save().learner_steps == 1
  sums.step()
  with pytest.raises(learner.NonFiniteError, match='step 2 gave log = -inf'):
    sums.save()


def test_does_not_save_what_only_the_next_round_would_show():
  def update(state, batch):
    return _State(state.total / batch), {'loss': state.total}

  algorithm = builder.Algorithm(lambda key: _State(jnp.ones(())), update)
  batches = iter(np.float32([1, 0]))
  divides = learner.Learner(algorithm, jax.random.PRNGKey(0), batches)
  divides.step()
  divides.save()
  divides.step()
  divides.check()
  with pytest.raises(
    learner.NonFiniteError, match=r'step 2 gave \.total = inf'
  ):
    divides.save()


@pytest.fixture
def make_sac(spec, make_batch):
  """Makes a learner of a small SAC, its batches from number `first` on."""

  def make(first=0, seed=0, critic_members=2):
    config = sac_config.SACConfig(
      batch_size=4,
      updates_per_round=2,
      critic_members=critic_members,
      hidden_sizes=(8,),
    )
    agent = sac_builder.SACBuilder(config)
    algorithm = agent.make_algorithm(agent.make_networks(spec))
    batches = (make_batch((2, 4), seed=i) for i in itertools.count(first))
    return learner.Learner(algorithm, jax.random.PRNGKey(seed), batches)

  return make


def test_goes_on_bit_for_bit_from_what_was_saved(make_sac):
  straight = make_sac()
  for _ in range(2):
    straight.step()
  saved = straight.save()
  for _ in range(2):
    straight.step()
  resumed = make_sac(first=2, seed=7)
  resumed.restore(saved)
  for _ in range(2):
    resumed.step()
  assert resumed.learner_steps == straight.learner_steps == 4
  jax.tree.map(np.testing.assert_array_equal, resumed.save(), straight.save())


def test_what_was_saved_outlives_later_steps(make_sac):
  sac = make_sac()
  sac.step()
  saved = sac.save()
  before = jax.tree.map(np.copy, saved)
  sac.step()
  assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(saved))
  jax.tree.map(np.testing.assert_array_equal, saved, before)


def test_refuses_what_another_configuration_saved(make_sac):
  saved = make_sac(critic_members=3).save()
  with pytest.raises(ValueError, match=r'critic.*\(3, .*expected .*\(2, '):
    make_sac().restore(saved)
  with pytest.raises(ValueError, match='is missing, expected'):
    make_sac().restore(saved._replace(state={}))


def test_compiling_ahead_changes_nothing(make_sac, make_batch):
  ahead, straight = make_sac(), make_sac()
  ahead.compile(make_batch((2, 4), seed=99))
  for _ in range(2):
    ahead.step()
    straight.step()
  jax.tree.map(np.testing.assert_array_equal, ahead.save(), straight.save())


def _erring_algorithm():
  """Returns the rewards of a batch as its TD errors."""

  def update(state, batch):
    total = state.total + batch.reward.sum()
    metrics = {'total': total, builder.TD_ERROR: batch.reward}
    return _State(total), metrics

  return builder.Algorithm(lambda key: _State(jnp.zeros(())), update)


def _erring_batches(*rewards):
  for number, reward in enumerate(rewards):
    rows = np.full((2, 3), reward, np.float32)
    batch = types.Batch.uniform(types.Transition(rows, rows, rows, rows, rows))
    yield batch._replace(key=batch.key + np.uint32(number))


def test_errors_are_written_back_while_the_next_round_is_computed():
  written = []
  erring = learner.Learner(
    _erring_algorithm(),
    jax.random.PRNGKey(0),
    _erring_batches(5, 6, 7),
    lambda key, td_error: written.append((key, td_error)),
  )
  for _ in range(3):
    # They are no metric to be logged.
    assert list(erring.step()) == ['total']
  for number, (key, td_error) in enumerate(written):
    assert key.shape == (2, 3, 2) and (key == number).all()
    assert td_error.shape == (2, 3) and (td_error == 5 + number).all()
  assert len(written) == 2


def test_errors_of_a_round_that_went_wrong_are_not_written_back():
  written = []
  erring = learner.Learner(
    _erring_algorithm(),
    jax.random.PRNGKey(0),
    _erring_batches(np.nan, 1, 1),
    lambda key, td_error: written.append(td_error),
  )
  erring.step()
  with pytest.raises(learner.NonFiniteError):
    erring.step()
  assert not written


def test_a_prioritised_table_needs_an_agent_with_errors():
  algorithm = _erring_algorithm()

  def update(state, batch):
    state, metrics = algorithm.update(state, batch)
    return state, {'total': metrics['total']}

  silent = learner.Learner(
    builder.Algorithm(algorithm.init, update),
    jax.random.PRNGKey(0),
    _erring_batches(1),
    lambda key, td_error: None,
  )
  with pytest.raises(ValueError, match=r"Prioritised.*no metric 'td_error'"):
    silent.step()
