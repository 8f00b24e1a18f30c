"""Tests of learning: by its effect."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.agents import builder
from serl.agents.classifier import networks as classifier_networks
from serl.agents.vice import learning
from serl.agents.vice import losses


def _update_agent(state, batch):
  """Learns nothing; remembers the sum of what it was given."""
  return state + batch.reward.sum(), {'rows': jnp.array(batch.reward.shape)}


@pytest.fixture
def networks(spec, config):
  return learning.VICENetworks(
    None, classifier_networks.make_networks(spec.observations, config.network)
  )


@pytest.fixture
def algorithm(networks, config):
  """An agent of 8 rows, of which the first 4 are its own."""
  agent = builder.Algorithm(lambda key: jnp.zeros(()), _update_agent)
  return learning.make_algorithm(
    networks, config, agent, builder.BatchSpec(2, 8), range(4)
  )


def _train(algorithm, networks, config, make_batch, **images):
  """Returns the rewards of a fresh batch after 40 rounds, and the metrics."""
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))
  update = jax.jit(algorithm.update)
  for i in range(40):
    state, metrics = update(state, make_batch(i, **images))
  relabelled = learning.relabel(
    networks.classifier, config, state.classifier, make_batch(99, **images)
  )
  return relabelled.reward, metrics


def test_goals_become_worth_more(algorithm, networks, config, make_batch):
  rewards, metrics = _train(algorithm, networks, config, make_batch)
  assert rewards.shape == (2, 12)
  assert rewards[:, 8:].min() > rewards[:, :8].max() + 0.5
  # The agent's rows are dark.
  np.testing.assert_allclose(
    metrics['vice_reward'], rewards[:, :8].mean(), atol=0.3
  )
  assert {'vice_loss', 'vice_gradient_penalty', 'rows'} < set(metrics)


def test_demonstrations_are_not_the_other_class(
  algorithm, networks, config, make_batch
):
  # Rows 4 to 8 are demonstrations and look like goals.
  rewards, _ = _train(
    algorithm, networks, config, make_batch, bright=slice(4, None)
  )
  # Were they taken for the other class, a bright image would be worth less.
  assert rewards[:, 4:8].min() > np.log(0.6)


def test_the_agent_learns_from_its_rows_with_the_new_rewards(
  algorithm, networks, config, make_batch
):
  state = algorithm.init(jax.random.PRNGKey(0))
  after, metrics = jax.jit(algorithm.update)(state, make_batch())
  np.testing.assert_array_equal(metrics['rows'], [2, 8])
  own = jax.tree.map(lambda x: x[:, :8], make_batch())
  own = learning.relabel(networks.classifier, config, after.classifier, own)
  np.testing.assert_allclose(after.agent, own.reward.sum(), rtol=1e-5)


def test_the_environments_reward_does_not_matter(algorithm, make_batch):
  update = jax.jit(algorithm.update)
  state = algorithm.init(jax.random.PRNGKey(0))
  batch = make_batch()
  first, _ = update(state, batch)
  second, _ = update(state, batch._replace(reward=-batch.reward))
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_each_round_has_its_own_chance(algorithm, make_batch):
  state = algorithm.init(jax.random.PRNGKey(0))
  after, _ = jax.jit(algorithm.update)(state, make_batch())
  assert not np.array_equal(state.key, after.key)


def test_refuses_a_batch_of_another_size(algorithm, make_batch):
  state = algorithm.init(jax.random.PRNGKey(0))
  with pytest.raises(ValueError, match=r'\(2, 8\).*\[2, 12\]'):
    algorithm.update(state, make_batch(rows=8))


def test_the_gradient_reaches_the_encoder(networks, config, make_batch):
  images = {'front': make_batch().next_observation['front'][0]}
  goals = {'front': images['front'][8:]}
  others = {'front': images['front'][:4]}
  params = classifier_networks.init(networks.classifier, jax.random.PRNGKey(0))
  noise = losses.draw_noise(jax.random.PRNGKey(1), 8, config.mixup_alpha)
  loss = lambda p: losses.classifier_loss(
    p,
    goals,
    others,
    noise,
    networks=networks.classifier,
    penalty_weight=config.gradient_penalty,
  )
  gradient, _ = jax.jit(jax.grad(loss, has_aux=True))(params)
  norms = [float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)]
  assert np.isfinite(norms).all()
  encoder = jax.tree.leaves(gradient.encoder)
  assert all(np.abs(leaf).max() > 0 for leaf in encoder)


def _relabelled(networks, config, make_batch):
  """Returns the discounts of a batch with terminations, as the agent has it."""
  given = []

  def update(state, batch):
    given.append(batch.discount)
    return state, {}

  agent = builder.Algorithm(lambda key: jnp.zeros(()), update)
  algorithm = learning.make_algorithm(
    networks, config, agent, builder.BatchSpec(2, 8), range(4)
  )
  batch = make_batch(0)
  ends = jnp.arange(batch.discount.size).reshape(batch.discount.shape) % 3 > 0
  batch = batch._replace(discount=ends.astype(jnp.float32))
  algorithm.update(algorithm.init(jax.random.PRNGKey(0)), batch)
  return given[0], batch.discount[:, :8]


@pytest.mark.parametrize('reward', ['log_probability', 'probability'])
def test_the_ends_of_the_task_are_no_ends_of_the_return(
  networks, config, make_batch, reward
):
  config = dataclasses.replace(config, reward=reward)
  given, ends = _relabelled(networks, config, make_batch)
  assert (ends == 0).any()
  np.testing.assert_array_equal(given, np.ones_like(ends))


def test_the_ends_may_be_kept(networks, config, make_batch):
  config = dataclasses.replace(config, keep_terminations=True)
  given, ends = _relabelled(networks, config, make_batch)
  np.testing.assert_array_equal(given, ends)
