"""SAC's learning rule: one call of `update_round` is a whole UTD round."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from serl import types
from serl.agents import builder
from serl.agents.sac import config as sac_config
from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks
from serl.agents.sac import quirks
from serl.ops import soft_actor_critic


class TrainingState(NamedTuple):
  """All that learning carries from round to round; arrays only."""

  params: losses.SACParams
  target_critic_params: sac_networks.CriticParams
  optimisers: losses.SACParams  # of optax states
  key: jax.Array


class RoundNoise(NamedTuple):
  """The random draws of one round."""

  critic: losses.CriticNoise  # [updates_per_round, ...]
  policy: losses.PolicyNoise


def make_algorithm(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  unroll: bool = False,
) -> builder.Algorithm:
  """Makes SAC's init and update.

  Args:
    networks: the agent's.
    config: the agent's.
    unroll: see `update_round`.
  """

  def update(
    state: TrainingState, batch: types.Batch
  ) -> tuple[TrainingState, types.Metrics]:
    check_batch(batch, config)
    key, noise_key = jax.random.split(state.key)
    noise = draw_noise(networks, config, noise_key)
    state = state._replace(key=key)
    return update_round(networks, config, state, batch, noise, unroll)

  return builder.Algorithm(functools.partial(init, networks, config), update)


def init(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  key: types.PRNGKey,
) -> TrainingState:
  """Returns the state to start from."""
  policy_key, encoder_key, critic_key, key = jax.random.split(key, 4)
  params = losses.SACParams(
    policy=networks.policy.init(policy_key),
    critic=sac_networks.CriticParams(
      encoder=networks.encoder.init(encoder_key),
      ensemble=networks.critic.init(critic_key),
    ),
    temperature=soft_actor_critic.inverse_softplus(config.initial_temperature),
  )
  optimisers = make_optimisers(config)
  return TrainingState(
    params=params,
    # A copy: a buffer that stands twice in the state cannot be donated.
    target_critic_params=jax.tree.map(jnp.copy, params.critic),
    optimisers=losses.SACParams(
      *(o.init(p) for o, p in zip(optimisers, params))
    ),
    key=key,
  )


def learning_rates(config: sac_config.SACConfig) -> losses.SACParams:
  """Returns the schedules: count of an optimiser's updates -> rate.

  A warm-up counts all updates before, those of the other optimisers included.
  """
  updates = config.updates_per_round  # of the critics, one of the policy after

  def before_critic(count: jax.Array) -> jax.Array:
    return count + count // updates

  def before_policy(count: jax.Array) -> jax.Array:
    return count * (updates + 1) + updates

  def schedule(
    rate: float, warmup_steps: int, before: Callable[[jax.Array], jax.Array]
  ) -> optax.Schedule:
    if not warmup_steps:
      return optax.constant_schedule(rate)
    rising = optax.linear_schedule(0.0, rate, warmup_steps)
    if config.quirks.step_idle_optimisers:  # which thereby count all updates
      return rising
    # At most, lest the product overflows.
    return lambda count: rising(before(jnp.minimum(count, warmup_steps)))

  warmup_steps = config.warmup_steps
  return losses.SACParams(
    policy=schedule(config.policy_learning_rate, warmup_steps, before_policy),
    critic=schedule(config.critic_learning_rate, warmup_steps, before_critic),
    temperature=schedule(
      config.temperature_learning_rate,
      config.temperature_warmup_steps,
      before_policy,
    ),
  )


def make_optimisers(config: sac_config.SACConfig) -> losses.SACParams:
  """Returns an optax transformation for each of the three."""
  return losses.SACParams(*map(optax.adam, learning_rates(config)))


def draw_noise(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  key: types.PRNGKey,
) -> RoundNoise:
  """Draws the noise of one round."""
  critic_key, policy_key = jax.random.split(key)
  draw_critic = functools.partial(
    losses.draw_critic_noise,
    batch_size=config.batch_size,
    action_size=networks.action_size,
    members=config.critic_members,
    drawn=config.target_members,
    with_replacement=config.quirks.draw_with_replacement,
  )
  rows = config.batch_size
  if config.quirks.actor_batch == 'round':
    rows *= config.updates_per_round
  return RoundNoise(
    critic=jax.vmap(draw_critic)(
      jax.random.split(critic_key, config.updates_per_round)
    ),
    policy=losses.draw_policy_noise(policy_key, rows, networks.action_size),
  )


def update_round(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  state: TrainingState,
  batch: types.Batch,
  noise: RoundNoise,
  unroll: bool = False,
) -> tuple[TrainingState, types.Metrics]:
  """Updates the critics with each minibatch, then policy and temperature.

  Args:
    networks: the agent's.
    config: the agent's.
    state: before the round.
    batch: [updates_per_round, batch_size, ...].
    noise: the round's.
    unroll: compile the updates one after the other instead of a loop: longer to
      compile, but XLA's convolutions on a CPU are many times slower in loops.

  Returns:
    the state after the round, and the metrics: of the critics the mean over
    the round.
  """

  def step(state, inputs):
    return critic_step(networks, config, state, *inputs)

  state, critic_metrics = jax.lax.scan(
    step, state, (batch, noise.critic), unroll=unroll
  )
  state, metrics = policy_step(
    networks,
    config,
    state,
    quirks.policy_rows(config.quirks, batch),
    noise.policy,
  )
  return state, {**mean_metrics(critic_metrics), **metrics}


def mean_metrics(metrics: types.Metrics) -> types.Metrics:
  """Returns the means over a round of all but the TD errors of its rows."""
  means = {name: jnp.mean(value) for name, value in metrics.items()}
  return {**means, builder.TD_ERROR: metrics[builder.TD_ERROR]}


def critic_step(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  state: TrainingState,
  batch: types.Batch,
  noise: losses.CriticNoise,
) -> tuple[TrainingState, types.Metrics]:
  """Updates the critics once, then moves their targets towards them."""
  target = losses.critic_target(
    state.params,
    state.target_critic_params,
    batch,
    noise,
    networks=networks,
    discount=config.discount,
    entropy_in_backup=config.entropy_in_backup,
    return_bounds=config.return_bounds,
  )
  gradients, metrics = jax.grad(losses.critic_loss, has_aux=True)(
    state.params.critic, batch, target, batch.weight, networks=networks
  )
  state = descend(config, state, {'critic': gradients})
  target_params = optax.incremental_update(
    state.params.critic, state.target_critic_params, config.target_rate
  )
  return state._replace(target_critic_params=target_params), metrics


def policy_step(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  state: TrainingState,
  batch: types.Batch,
  noise: losses.PolicyNoise,
) -> tuple[TrainingState, types.Metrics]:
  """Updates the policy and the temperature once, from the same parameters."""
  policy_gradients, policy_metrics = jax.grad(losses.policy_loss, has_aux=True)(
    state.params.policy,
    state.params,
    batch,
    noise,
    networks=networks,
    objective=config.actor_objective,
    cloning=config.cloning,
    demonstrated=builder.demonstrated(batch),
  )
  temperature_gradient, temperature_metrics = jax.grad(
    losses.temperature_loss, has_aux=True
  )(
    state.params.temperature,
    state.params,
    batch,
    noise,
    networks=networks,
    target_entropy=config.entropy_to_keep(networks.action_size),
  )
  if not config.learn_temperature:
    temperature_gradient = jnp.zeros_like(temperature_gradient)
  state = descend(
    config,
    state,
    {'policy': policy_gradients, 'temperature': temperature_gradient},
  )
  return state, {**policy_metrics, **temperature_metrics}


def descend(
  config: sac_config.SACConfig, state: TrainingState, gradients: dict[str, Any]
) -> TrainingState:
  """Steps the optimisers that have gradients; see `SERLQuirks`."""
  params, optimisers = state.params, state.optimisers
  stepped = quirks.all_gradients(config.quirks, gradients, params)
  for name, gradient in stepped.items():
    optimiser = getattr(make_optimisers(config), name)
    updates, optimiser_state = optimiser.update(
      gradient, getattr(optimisers, name)
    )
    trained = optax.apply_updates(getattr(params, name), updates)
    params = params._replace(**{name: trained})
    optimisers = optimisers._replace(**{name: optimiser_state})
  return state._replace(params=params, optimisers=optimisers)


def check_batch(batch: types.Batch, config: sac_config.SACConfig) -> None:
  """Refuses a batch of another shape than a round's.

  Raises:
    ValueError: with its shape and the expected one.
  """
  expected = (config.updates_per_round, config.batch_size)
  for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
    if leaf.shape[:2] != expected:
      raise ValueError(
        f'batch{jax.tree_util.keystr(path)} has shape {tuple(leaf.shape)}, '
        f'expected [updates_per_round, batch_size, ...] = {list(expected)} in '
        'front: give the data set the batch_spec() of this builder.'
      )
