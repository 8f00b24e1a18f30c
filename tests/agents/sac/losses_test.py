"""Tests of losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.agents.sac import config as sac_config
from serl.agents.sac import learning
from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks

CONFIG = sac_config.SACConfig(
  batch_size=5, critic_members=4, hidden_sizes=(8, 8), discount=0.9
)


@pytest.fixture
def setup(spec, make_batch):
  networks = sac_networks.make_networks(spec, CONFIG)
  state = learning.init(networks, CONFIG, jax.random.PRNGKey(0))
  noise = losses.draw_critic_noise(jax.random.PRNGKey(1), CONFIG, 2)
  return networks, state, make_batch((5,)), noise


def _target(networks, state, batch, noise, config=CONFIG):
  return losses.critic_target(
    state.params,
    state.target_critic_params,
    batch,
    noise,
    networks=networks,
    config=config,
  )


def test_a_time_limit_bootstraps_and_a_termination_does_not(setup):
  networks, state, batch, noise = setup
  going_on = _target(networks, state, batch, noise)
  discount = np.array([0, 1, 0, 1, 0], np.float32)
  ended = _target(networks, state, batch._replace(discount=discount), noise)
  np.testing.assert_allclose(ended[::2], batch.reward[::2])
  np.testing.assert_allclose(ended[1::2], going_on[1::2])
  assert np.abs(going_on - batch.reward).min() > 1e-4


def test_target_is_the_least_of_the_drawn_members(setup):
  networks, state, batch, _ = setup
  noise = losses.CriticNoise(jnp.zeros((5, 2)), jnp.array([2, 0]))
  embedding = networks.encoder.apply({}, batch.next_observation)
  action = networks.policy.apply(state.params.policy, embedding).mode()
  values = networks.critic.apply(
    state.target_critic_params.ensemble, embedding, action
  )
  expected = batch.reward + 0.9 * np.minimum(values[0], values[2])
  np.testing.assert_allclose(
    _target(networks, state, batch, noise), expected, rtol=1e-5
  )


def test_members_that_are_not_drawn_do_not_count(setup):
  networks, state, batch, _ = setup
  noise = losses.CriticNoise(jnp.zeros((5, 2)), jnp.array([2, 0]))
  broken = jax.tree.map(
    lambda x: x.at[jnp.array([1, 3])].set(jnp.nan), state.target_critic_params
  )
  target = _target(
    networks, state._replace(target_critic_params=broken), batch, noise
  )
  assert np.isfinite(target).all()


def test_entropy_in_the_backup(setup):
  networks, state, batch, noise = setup
  config = dataclasses.replace(CONFIG, entropy_in_backup=True)
  _, log_prob = losses.act(
    state.params, batch.next_observation, noise.next_action, networks=networks
  )
  difference = _target(networks, state, batch, noise, config) - _target(
    networks, state, batch, noise
  )
  np.testing.assert_allclose(
    difference, -0.9 * CONFIG.initial_temperature * log_prob, atol=1e-6
  )


def _policy_loss(networks, state, batch, noise, config=CONFIG):
  return losses.policy_loss(
    state.params.policy,
    state.params,
    batch,
    noise,
    networks=networks,
    config=config,
  )


@pytest.mark.parametrize('objective', ['mean', 'min'])
def test_policy_loss_is_that_of_its_parts(setup, objective):
  networks, state, batch, _ = setup
  config = dataclasses.replace(CONFIG, actor_objective=objective)
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  loss, metrics = _policy_loss(networks, state, batch, noise, config)
  action, log_prob = losses.act(
    state.params, batch.observation, noise.action, networks=networks
  )
  embedding = networks.encoder.apply({}, batch.observation)
  values = networks.critic.apply(
    state.params.critic.ensemble, embedding, action
  )
  value = getattr(np, objective)(np.asarray(values), axis=0)
  np.testing.assert_allclose(loss, np.mean(0.01 * log_prob - value), rtol=1e-4)
  np.testing.assert_allclose(metrics['entropy'], -log_prob.mean(), rtol=1e-6)


def test_what_was_demonstrated_is_cloned(setup):
  networks, state, batch, _ = setup
  config = dataclasses.replace(CONFIG, cloning=0.5)
  batch = batch._replace(source=np.int32([0, 2, 0, 3, 1]))
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  cloning, metrics = _policy_loss(networks, state, batch, noise, config)
  plain, _ = _policy_loss(networks, state, batch, noise)
  action, _ = losses.act(
    state.params, batch.observation, noise.action, networks=networks
  )
  # Two of the five rows.
  distances = np.sum(np.square(action - batch.action), axis=-1)[[1, 3]]
  np.testing.assert_allclose(
    metrics['cloning_error'], distances.mean(), rtol=1e-5
  )
  np.testing.assert_allclose(cloning - plain, 0.5 * distances.mean(), rtol=1e-4)


def test_targets_keep_to_the_returns_that_there_can_be(setup):
  networks, state, batch, noise = setup
  free = _target(networks, state, batch, noise)
  bounds = float(np.median(free)), float(np.median(free)) + 0.1
  config = dataclasses.replace(CONFIG, return_bounds=bounds)
  clipped = _target(networks, state, batch, noise, config)
  np.testing.assert_array_equal(clipped, np.clip(free, *bounds))
  assert (clipped != free).any() and (clipped == free).any()


def test_target_entropy_is_half_the_actions_by_default(setup):
  networks, state, batch, _ = setup
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)

  def loss(config):
    return losses.temperature_loss(
      state.params.temperature,
      state.params,
      batch,
      noise,
      networks=networks,
      config=config,
    )[0]

  explicit = dataclasses.replace(CONFIG, target_entropy=-1.0)
  np.testing.assert_allclose(loss(CONFIG), loss(explicit))
  higher = dataclasses.replace(CONFIG, target_entropy=0.0)
  np.testing.assert_allclose(loss(CONFIG) - loss(higher), 0.01, rtol=1e-4)


def test_members_are_drawn_with_or_without_replacement():
  keys = jax.random.split(jax.random.PRNGKey(0), 64)

  def draw(config):
    noise = jax.vmap(lambda k: losses.draw_critic_noise(k, config, 2))(keys)
    return np.asarray(noise.members)

  without = draw(CONFIG)
  assert (without[:, 0] != without[:, 1]).all()
  assert set(without.ravel()) == {0, 1, 2, 3}
  again = draw(dataclasses.replace(CONFIG, draw_with_replacement=True))
  assert (again[:, 0] == again[:, 1]).any()
