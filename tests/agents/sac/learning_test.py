"""Tests of learning: the update by its effect."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from serl.agents.sac import config as sac_config
from serl.agents.sac import learning
from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks
from serl.agents.sac import quirks
from serl.networks import feed_forward

CONFIG = sac_config.SACConfig(
  batch_size=6,
  updates_per_round=3,
  critic_members=4,
  hidden_sizes=(8, 8),
  warmup_steps=0,
)

_IDLE = quirks.SERLQuirks(step_idle_optimisers=True)


def _setup(spec, config):
  networks = sac_networks.make_networks(spec, config)
  state = learning.init(networks, config, jax.random.PRNGKey(0))
  return networks, state


# One compilation for all calls with the same networks and configuration.
_jit_critic_step = jax.jit(learning.critic_step, static_argnums=(0, 1))
_jit_policy_step = jax.jit(learning.policy_step, static_argnums=(0, 1))


def _critic_step(networks, config, state, batch):
  members = config.critic_members
  noise = losses.draw_critic_noise(jax.random.PRNGKey(1), 6, 2, members, 2)
  return _jit_critic_step(networks, config, state, batch, noise)


def _policy_step(networks, config, state, batch):
  noise = losses.draw_policy_noise(jax.random.PRNGKey(2), 6, 2)
  return _jit_policy_step(networks, config, state, batch, noise)


def _assert_same(ours, theirs):
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def _assert_close(ours, theirs, rtol=1e-5, atol=1e-6):
  close = functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
  jax.tree.map(close, ours, theirs)


def _moved(before, after):
  return any(
    (x != y).any() for x, y in zip(*map(jax.tree.leaves, (before, after)))
  )


def test_a_round_uses_its_key_up(spec, make_batch):
  networks, state = _setup(spec, CONFIG)
  update = jax.jit(learning.make_algorithm(networks, CONFIG).update)
  batch = make_batch((3, 6))
  first, _ = update(state, batch)
  again, _ = update(state, batch)
  other, _ = update(state._replace(key=first.key), batch)
  assert _moved(state.key, first.key)
  _assert_same(first, again)
  assert _moved(first.params, other.params)


def test_a_round_is_its_steps(spec, make_batch):
  networks, state = _setup(spec, CONFIG)
  batch = make_batch((3, 6))
  noise = learning.draw_noise(networks, CONFIG, jax.random.PRNGKey(3))
  update_round = jax.jit(learning.update_round, static_argnums=(0, 1))
  whole, metrics = update_round(networks, CONFIG, state, batch, noise)
  critic_losses = []
  for i in range(3):
    part, part_noise = jax.tree.map(lambda x, i=i: x[i], (batch, noise.critic))
    state, step_metrics = _jit_critic_step(
      networks, CONFIG, state, part, part_noise
    )
    critic_losses.append(step_metrics['critic_loss'])
  last = jax.tree.map(lambda x: x[-1], batch)
  state, _ = _jit_policy_step(networks, CONFIG, state, last, noise.policy)
  _assert_close(whole, state, rtol=1e-4)
  np.testing.assert_allclose(
    metrics['critic_loss'], np.mean(critic_losses), rtol=1e-5
  )


def test_critic_loss_falls_on_a_fixed_batch(spec, make_batch):
  config = dataclasses.replace(CONFIG, critic_learning_rate=1e-2)
  networks, state = _setup(spec, config)
  update = jax.jit(learning.make_algorithm(networks, config).update)
  one = make_batch((1, 6), discount=0.0)
  batch = jax.tree.map(lambda x: np.repeat(x, 3, axis=0), one)
  trace = []
  for _ in range(60):
    state, metrics = update(state, batch)
    trace.append(float(metrics['critic_loss']))
  assert trace[-1] < 0.05 * trace[0]


def test_policy_loss_falls_on_a_fixed_batch(spec, make_batch):
  config = dataclasses.replace(CONFIG, policy_learning_rate=1e-2)
  networks, state = _setup(spec, config)
  batch = make_batch((6,))
  trace = []
  for _ in range(30):
    state, metrics = _policy_step(networks, config, state, batch)
    trace.append(float(metrics['actor_loss']))
  assert trace[-1] < trace[0] - 0.1


def test_the_target_moves_by_its_rate(spec, make_batch):
  config = dataclasses.replace(CONFIG, target_rate=0.25)
  networks, state = _setup(spec, config)
  after, _ = _critic_step(networks, config, state, make_batch((6,)))
  assert _moved(state.params.critic, after.params.critic)
  expected = jax.tree.map(
    lambda old, new: 0.75 * old + 0.25 * new,
    state.target_critic_params,
    after.params.critic,
  )
  _assert_close(after.target_critic_params, expected)


def test_a_critic_update_leaves_policy_and_temperature_alone(spec, make_batch):
  networks, state = _setup(spec, CONFIG)
  after, _ = _critic_step(networks, CONFIG, state, make_batch((6,)))
  for field in ('policy', 'temperature'):
    _assert_same(getattr(state.params, field), getattr(after.params, field))
    _assert_same(
      getattr(state.optimisers, field), getattr(after.optimisers, field)
    )


def test_a_policy_update_leaves_the_critics_alone(spec, make_batch):
  networks, state = _setup(spec, CONFIG)
  after, _ = _policy_step(networks, CONFIG, state, make_batch((6,)))
  assert _moved(state.params.policy, after.params.policy)
  _assert_same(state.params.critic, after.params.critic)
  _assert_same(state.optimisers.critic, after.optimisers.critic)
  _assert_same(state.target_critic_params, after.target_critic_params)


def test_the_critics_train_an_encoder_and_the_policy_does_not(spec, make_batch):
  networks, _ = _setup(spec, CONFIG)
  flatten = networks.encoder.apply
  networks = dataclasses.replace(
    networks,
    encoder=feed_forward.FeedForward(
      init=lambda key: {'w': jnp.eye(6)},
      apply=lambda params, x: flatten({}, x) @ params['w'],
    ),
  )
  state = learning.init(networks, CONFIG, jax.random.PRNGKey(0))
  batch = make_batch((6,))
  after, _ = _policy_step(networks, CONFIG, state, batch)
  _assert_same(state.params.critic.encoder, after.params.critic.encoder)
  after, _ = _critic_step(networks, CONFIG, state, batch)
  assert _moved(state.params.critic.encoder, after.params.critic.encoder)
  assert _moved(state.target_critic_params, after.target_critic_params)


@pytest.mark.parametrize(
  'target_entropy, rises', [(10.0, True), (-99.0, False)]
)
def test_the_temperature_follows_the_entropy(
  spec, make_batch, target_entropy, rises
):
  config = dataclasses.replace(CONFIG, target_entropy=target_entropy)
  networks, state = _setup(spec, config)
  after, _ = _policy_step(networks, config, state, make_batch((6,)))
  assert (after.params.temperature > state.params.temperature) == rises


def test_a_fixed_temperature_stays(spec, make_batch):
  config = dataclasses.replace(CONFIG, learn_temperature=False)
  networks, state = _setup(spec, config)
  for _ in range(2):
    state, metrics = _policy_step(networks, config, state, make_batch((6,)))
  np.testing.assert_allclose(metrics['temperature'], 1e-2, rtol=1e-5)


@pytest.mark.parametrize('rows', ['last', 'round'])
def test_the_policy_learns_from_the_asked_rows(spec, make_batch, rows):
  config = dataclasses.replace(
    CONFIG,
    quirks=quirks.SERLQuirks(actor_batch=rows),
    critic_learning_rate=1e-30,
  )
  networks, state = _setup(spec, config)
  update = jax.jit(learning.make_algorithm(networks, config).update)
  batch = make_batch((3, 6))
  other = jax.tree.map(lambda x: x.copy(), batch)
  other.observation['velocity'][0] += 1
  first, second = update(state, batch)[0], update(state, other)[0]
  moved = _moved(first.params.policy, second.params.policy)
  assert moved == (rows == 'round')


def test_the_sources_and_weights_of_the_rows_count(spec, make_batch):
  config = dataclasses.replace(CONFIG, cloning=0.5)
  networks, state = _setup(spec, config)
  batch = make_batch((6,))

  def cloning_error(source):
    rows = batch._replace(source=np.int32(source))
    return _policy_step(networks, config, state, rows)[1]['cloning_error']

  first, last = cloning_error([2, 0, 0, 1, 0, 0]), cloning_error([0] * 5 + [3])
  both = cloning_error([2, 0, 0, 1, 0, 2])
  assert first != last
  np.testing.assert_allclose(both, (first + last) / 2, rtol=1e-5)
  assert cloning_error([0, 1, 0, 1, 0, 1]) == 0
  heavier = batch._replace(weight=2 * batch.weight)
  losses_of = [
    _critic_step(networks, config, state, rows)[1]['critic_loss']
    for rows in (batch, heavier)
  ]
  np.testing.assert_allclose(losses_of[1], 2 * losses_of[0], rtol=1e-5)


def _whole_tree_reference(config, state, gradients_of_a_step):
  """SERL's way: three optimisers over all parameters, their updates added."""
  rates = [
    (config.policy_learning_rate, config.warmup_steps),
    (config.critic_learning_rate, config.warmup_steps),
    (config.temperature_learning_rate, config.temperature_warmup_steps),
  ]
  optimisers = []
  for rate, steps in rates:
    schedule = optax.join_schedules(
      [optax.linear_schedule(0.0, rate, steps), optax.constant_schedule(rate)],
      [steps],
    )
    optimisers.append(
      optax.inject_hyperparams(optax.adam)(learning_rate=schedule)
    )
  params = state.params
  states = [optimiser.init(params) for optimiser in optimisers]
  zeros = jax.tree.map(jnp.zeros_like, params)
  for gradients in gradients_of_a_step:
    total = zeros
    for i, name in enumerate(params._fields):
      gradient = zeros._replace(**{name: gradients.get(name, zeros[i])})
      updates, states[i] = optimisers[i].update(gradient, states[i], params)
      total = jax.tree.map(jnp.add, total, updates)
    params = optax.apply_updates(params, total)
  return params, states


def test_idle_optimisers_step_as_serls_do_with_a_warmup(spec):
  config = dataclasses.replace(CONFIG, quirks=_IDLE, warmup_steps=5)
  _, state = _setup(spec, config)
  keys = jax.random.split(jax.random.PRNGKey(5), 8)

  def noise_like(name, key):
    tree = getattr(state.params, name)
    leaves, structure = jax.tree.flatten(tree)
    subkeys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, x.shape) for k, x in zip(subkeys, leaves)]
    return jax.tree.unflatten(structure, drawn)

  gradients = [
    {'policy': noise_like('policy', key), 'temperature': jnp.array(0.3)}
    if i % 3 == 0
    else {'critic': noise_like('critic', key)}
    for i, key in enumerate(keys)
  ]
  expected, optimisers = _whole_tree_reference(config, state, gradients)
  descend = jax.jit(learning.descend, static_argnums=0)
  for step in gradients:
    state = descend(config, state, step)
  _assert_close(state.params, expected)
  for i, (adam, schedule) in enumerate(state.optimisers):
    assert adam.count == schedule.count == 8
    theirs = optimisers[i].inner_state[0]
    _assert_close(adam.mu, theirs.mu[i])
    _assert_close(adam.nu, theirs.nu[i])
    rate = learning.learning_rates(config)[i](schedule.count - 1)
    np.testing.assert_allclose(
      rate, optimisers[i].hyperparams['learning_rate'], rtol=1e-6
    )


def _serls_rates(config, rounds):
  """Returns the rate of each update by SERL's rule: one count of all of them.

  Its `apply_gradients` (common/common.py) updates all optimisers, and its
  `update_high_utd` (agents/continuous/sac.py) does the critics' updates, then
  one of actor and temperature.
  """

  def rate(peak, warmup_steps, count):
    return peak * min(1.0, count / warmup_steps) if warmup_steps else peak

  warmup_steps = config.warmup_steps
  found = losses.SACParams([], [], [])
  count = 0
  for _ in range(rounds):
    for _ in range(config.updates_per_round):
      peak = config.critic_learning_rate
      found.critic.append(rate(peak, warmup_steps, count))
      count += 1
    peak = config.policy_learning_rate
    found.policy.append(rate(peak, warmup_steps, count))
    found.temperature.append(
      rate(
        config.temperature_learning_rate, config.temperature_warmup_steps, count
      )
    )
    count += 1
  return found


@pytest.mark.parametrize(
  'config',
  [
    sac_config.serl(),
    sac_config.SACConfig(updates_per_round=1, warmup_steps=50),
    sac_config.SACConfig(
      updates_per_round=4, warmup_steps=0, temperature_warmup_steps=300
    ),
    sac_config.SACConfig(
      updates_per_round=20, warmup_steps=1999, critic_learning_rate=1e-3
    ),
  ],
)
def test_the_rates_rise_by_serls_rule(config):
  rounds = 300
  for expected, schedule in zip(
    _serls_rates(config, rounds), learning.learning_rates(config)
  ):
    rates = schedule(jnp.arange(len(expected)))
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-10)
  # Optax counts up to the largest int32 there is.
  for schedule in learning.learning_rates(config):
    last = jax.jit(schedule)(jnp.iinfo(jnp.int32).max)
    np.testing.assert_allclose(last, schedule(10_000), rtol=1e-6)


def test_serls_preset_is_warm_after_222_rounds():
  config = sac_config.serl()
  rates = learning.learning_rates(config)
  policy = [float(rates.policy(n)) for n in (0, 220, 221, 222)]
  np.testing.assert_allclose(
    policy,
    [3e-4 * 8 / 2000, 3e-4 * 1988 / 2000, 3e-4 * 1997 / 2000, 3e-4],
    rtol=1e-4,
  )
  # That in which each optimiser steps with each update is of the same rates.
  idle = dataclasses.replace(config, quirks=_IDLE)
  for n in (0, 100, 222):
    np.testing.assert_allclose(
      rates.policy(n), learning.learning_rates(idle).policy(9 * n + 8)
    )


def test_a_round_of_a_warmup_moves_the_policy_by_its_rate(spec, make_batch):
  # Adam's first step moves each parameter by the rate: here after 3 of 100.
  config = dataclasses.replace(CONFIG, warmup_steps=100)
  networks, state = _setup(spec, config)
  update = jax.jit(learning.make_algorithm(networks, config).update)
  after, _ = update(state, make_batch((3, 6)))
  moved = jax.tree.map(
    lambda x, y: np.abs(x - y).max(), state.params.policy, after.params.policy
  )
  largest = max(jax.tree.leaves(moved))
  np.testing.assert_allclose(largest, 0.03 * config.policy_learning_rate, 1e-3)


def test_the_first_update_of_a_warmup_moves_nothing(spec, make_batch):
  config = dataclasses.replace(CONFIG, warmup_steps=10)
  networks, state = _setup(spec, config)
  after, _ = _critic_step(networks, config, state, make_batch((6,)))
  _assert_same(state.params.critic, after.params.critic)
  after, _ = _critic_step(networks, config, after, make_batch((6,)))
  assert _moved(state.params.critic, after.params.critic)


@pytest.mark.parametrize('lead', [(2, 6), (3, 5), (18,)])
def test_refuses_a_batch_of_another_shape(spec, make_batch, lead):
  networks, state = _setup(spec, CONFIG)
  algorithm = learning.make_algorithm(networks, CONFIG)
  with pytest.raises(ValueError, match=r'has shape \(.*expected .*\[3, 6\]'):
    jax.jit(algorithm.update)(state, make_batch(lead))


@pytest.mark.parametrize('preset', ['serl', 'cpu', 'sac', 'redq', 'td3_like'])
def test_every_preset_learns(spec, make_batch, preset):
  config = dataclasses.replace(
    getattr(sac_config, preset)(), batch_size=4, hidden_sizes=(8, 8)
  )
  networks, state = _setup(spec, config)
  update = jax.jit(learning.make_algorithm(networks, config).update)
  batch = make_batch((config.updates_per_round, 4))
  after, metrics = update(*[update(state, batch)[0], batch])
  assert all(np.isfinite(value).all() for value in metrics.values())
  assert _moved(state.params, after.params)


def test_no_buffer_stands_twice_in_the_state(spec, make_batch):
  networks, state = _setup(spec, CONFIG)
  update = learning.make_algorithm(networks, CONFIG).update
  state, _ = jax.jit(update, donate_argnums=0)(state, make_batch((3, 6)))
  assert np.isfinite(state.params.temperature)
