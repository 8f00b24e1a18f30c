"""Tests of losses."""

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
ALL = jnp.ones(5)


@pytest.fixture
def setup(spec, make_batch):
  networks = sac_networks.make_networks(spec, CONFIG)
  state = learning.init(networks, CONFIG, jax.random.PRNGKey(0))
  noise = losses.draw_critic_noise(jax.random.PRNGKey(1), 5, 2, 4, 2)
  return networks, state, make_batch((5,)), noise


def _target(networks, state, batch, noise, **settings):
  return losses.critic_target(
    state.params,
    state.target_critic_params,
    batch,
    noise,
    networks=networks,
    discount=0.9,
    **settings,
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
  _, log_prob = losses.act(
    state.params, batch.next_observation, noise.next_action, networks=networks
  )
  difference = _target(
    networks, state, batch, noise, entropy_in_backup=True
  ) - _target(networks, state, batch, noise)
  np.testing.assert_allclose(
    difference, -0.9 * CONFIG.initial_temperature * log_prob, atol=1e-6
  )


def _policy_loss(networks, state, batch, noise, **settings):
  return losses.policy_loss(
    state.params.policy,
    state.params,
    batch,
    noise,
    networks=networks,
    **settings,
  )


@pytest.mark.parametrize('objective', ['mean', 'min'])
def test_policy_loss_is_that_of_its_parts(setup, objective):
  networks, state, batch, _ = setup
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  loss, metrics = _policy_loss(
    networks, state, batch, noise, objective=objective
  )
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
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  rows = np.array([False, True, False, False, True])
  cloning, metrics = _policy_loss(
    networks, state, batch, noise, cloning=0.5, demonstrated=rows
  )
  plain, _ = _policy_loss(networks, state, batch, noise)
  action, _ = losses.act(
    state.params, batch.observation, noise.action, networks=networks
  )
  distances = np.sum((action - batch.action) ** 2, axis=-1)
  np.testing.assert_allclose(
    metrics['cloning_error'], distances[rows].mean(), rtol=1e-5
  )
  np.testing.assert_allclose(
    cloning - plain, 0.5 * distances[rows].mean(), rtol=1e-4
  )
  _, metrics = _policy_loss(networks, state, batch, noise, cloning=0.5)
  np.testing.assert_allclose(
    metrics['cloning_error'], distances.mean(), rtol=1e-5
  )


def test_a_minibatch_without_demonstrations_clones_nothing(setup):
  networks, state, batch, _ = setup
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  none = np.zeros(5, bool)

  def loss(policy_params, **settings):
    return losses.policy_loss(
      policy_params, state.params, batch, noise, networks=networks, **settings
    )[0]

  cloning = jax.grad(loss)(state.params.policy, cloning=0.5, demonstrated=none)
  plain = jax.grad(loss)(state.params.policy)
  jax.tree.map(np.testing.assert_array_equal, cloning, plain)


def test_the_loss_weighs_its_rows(setup):
  networks, state, batch, _ = setup

  def loss(weight):
    return losses.critic_loss(
      state.params.critic, batch, batch.reward, weight, networks=networks
    )[0]

  values = networks.critic.apply(
    state.params.critic.ensemble,
    networks.encoder.apply({}, batch.observation),
    batch.action,
  )
  errors = np.mean(np.square(values - batch.reward), axis=0)
  weight = np.float32([0.0, 1.0, 2.0, 0.5, 0.0])
  np.testing.assert_allclose(loss(ALL), errors.mean(), rtol=1e-5)
  np.testing.assert_allclose(loss(weight), (weight * errors).mean(), rtol=1e-5)


def test_targets_keep_to_the_returns_that_there_can_be(setup):
  networks, state, batch, noise = setup
  free = _target(networks, state, batch, noise)
  bounds = float(np.median(free)), float(np.median(free)) + 0.1
  clipped = _target(networks, state, batch, noise, return_bounds=bounds)
  np.testing.assert_array_equal(clipped, np.clip(free, *bounds))
  assert (clipped != free).any() and (clipped == free).any()


def test_the_temperature_weighs_the_distance_to_the_target_entropy(setup):
  networks, state, batch, _ = setup
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  _, log_prob = losses.act(
    state.params, batch.next_observation, noise.next_action, networks=networks
  )
  loss, metrics = losses.temperature_loss(
    state.params.temperature,
    state.params,
    batch,
    noise,
    networks=networks,
    target_entropy=-1.5,
  )
  np.testing.assert_allclose(metrics['temperature'], 0.01, rtol=1e-5)
  np.testing.assert_allclose(loss, 0.01 * (1.5 - log_prob.mean()), rtol=1e-4)


def test_members_are_drawn_with_or_without_replacement():
  keys = jax.random.split(jax.random.PRNGKey(0), 64)

  def draw(with_replacement):
    noise = jax.vmap(
      lambda k: losses.draw_critic_noise(k, 5, 2, 4, 2, with_replacement)
    )(keys)
    return np.asarray(noise.members)

  without = draw(False)
  assert (without[:, 0] != without[:, 1]).all()
  assert set(without.ravel()) == {0, 1, 2, 3}
  again = draw(True)
  assert (again[:, 0] == again[:, 1]).any()


def _wrong(batch, noise, weight):
  """Yields arguments of the losses, each wrong in one array."""
  short = lambda x: x[:4]
  for field in ('reward', 'discount', 'action'):
    value = getattr(batch, field)
    yield field, batch._replace(**{field: short(value)}), noise, weight
    column = value[:, :1] if value.ndim == 2 else value[:, None]
    yield field, batch._replace(**{field: column}), noise, weight
    whole = value.astype(int)
    yield field, batch._replace(**{field: whole}), noise, weight
  for field in ('observation', 'next_observation'):
    wrong = jax.tree.map(short, getattr(batch, field))
    yield field, batch._replace(**{field: wrong}), noise, weight
  for field in ('next_action', 'members'):
    value = getattr(noise, field)
    yield field, batch, noise._replace(**{field: value[None]}), weight
  short_noise = noise._replace(next_action=short(noise.next_action))
  yield 'noise', batch, short_noise, weight
  for wrong in (weight[:4], weight[:, None], weight.astype(int), weight[0]):
    yield 'weight', batch, noise, wrong


def test_arrays_of_another_shape_or_type_are_refused(setup):
  # What broadcasts would be learned from in silence.
  networks, state, batch, critic_noise = setup
  policy_noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 5, 2)
  cases = list(_wrong(batch, critic_noise, ALL))
  assert len(cases) == 18
  for name, batch, noise, weight in cases:
    policy = policy_noise._replace(next_action=noise.next_action)
    with pytest.raises((AssertionError, ValueError)):
      _target(networks, state, batch, noise)
      losses.critic_loss(
        state.params.critic, batch, batch.reward, weight, networks=networks
      )
      raise RuntimeError(name)
    if name in ('members', 'weight'):
      continue
    with pytest.raises((AssertionError, ValueError)):
      losses.temperature_loss(
        state.params.temperature,
        state.params,
        batch,
        policy,
        networks=networks,
        target_entropy=-1.0,
      )
      raise RuntimeError(name)
