"""The losses of SAC. Noise is an argument: drawing it is apart."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from serl import types
from serl.agents import builder
from serl.agents.sac import config as sac_config
from serl.agents.sac import networks as sac_networks
from serl.networks import critics
from serl.ops import soft_actor_critic


class SACParams(NamedTuple):
  """A value for each of the three that are trained: parameters, optimisers."""

  policy: Any
  critic: Any  # parameters: CriticParams
  temperature: Any  # parameters: [] before softplus


class CriticNoise(NamedTuple):
  """The chance in one critic update."""

  next_action: jax.Array  # [B, action_size] standard normal
  members: jax.Array  # [M] int32, the target critics drawn


class PolicyNoise(NamedTuple):
  """The chance in one update of policy and temperature."""

  action: jax.Array  # [B, action_size] standard normal
  next_action: jax.Array  # [B, action_size] standard normal


def draw_critic_noise(
  key: types.PRNGKey, config: sac_config.SACConfig, action_size: int
) -> CriticNoise:
  """Draws the chance of one critic update."""
  action_key, member_key = jax.random.split(key)
  return CriticNoise(
    next_action=jax.random.normal(action_key, (config.batch_size, action_size)),
    members=jax.random.choice(
      member_key,
      config.critic_members,
      (config.target_members,),
      replace=config.draw_with_replacement,
    ),
  )


def draw_policy_noise(
  key: types.PRNGKey, batch_size: int, action_size: int
) -> PolicyNoise:
  """Draws the chance of one update of policy and temperature."""
  action_key, next_action_key = jax.random.split(key)
  shape = (batch_size, action_size)
  return PolicyNoise(
    action=jax.random.normal(action_key, shape),
    next_action=jax.random.normal(next_action_key, shape),
  )


def act(
  params: SACParams,
  observation: types.NestedArray,
  noise: jax.Array,
  *,
  networks: sac_networks.SACNetworks,
) -> tuple[jax.Array, jax.Array]:
  """Returns the policy's actions [B, A] and their log-densities [B]."""
  embedding = networks.encoder.apply(params.critic.encoder, observation)
  distribution = networks.policy.apply(params.policy, embedding)
  return distribution.sample_and_log_prob(noise)


def critic_target(
  params: SACParams,
  target_params: sac_networks.CriticParams,
  batch: types.Transition,
  noise: CriticNoise,
  *,
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
) -> jax.Array:
  """Returns what the critics are drawn to, [B]; see `ops.soft_target`.

  Only the drawn members of the target ensemble are evaluated.
  """
  next_action, next_log_prob = act(
    params, batch.next_observation, noise.next_action, networks=networks
  )
  next_embedding = networks.encoder.apply(
    target_params.encoder, batch.next_observation
  )
  next_values = networks.critic.apply(
    critics.take_members(target_params.ensemble, noise.members),
    next_embedding,
    next_action,
  )
  bonus = 0.0
  if config.entropy_in_backup:
    bonus = -jax.nn.softplus(params.temperature) * next_log_prob
  target = soft_actor_critic.soft_target(
    batch.reward, config.discount * batch.discount, next_values, bonus
  )
  if config.return_bounds is not None:
    target = jnp.clip(target, *config.return_bounds)
  return target


def critic_loss(
  critic_params: sac_networks.CriticParams,
  batch: types.Transition,
  target: jax.Array,
  *,
  networks: sac_networks.SACNetworks,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the critics' squared error; REDQ (arXiv 2101.05982), algorithm 1.

  Args:
    critic_params: what is trained.
    batch: [B, ...].
    target: of `critic_target`, [B].
    networks: the agent's.

  Returns:
    the loss [] and metrics.
  """
  chex.assert_rank(target, 1)
  embedding = networks.encoder.apply(critic_params.encoder, batch.observation)
  values = networks.critic.apply(
    critic_params.ensemble, embedding, batch.action
  )
  loss = soft_actor_critic.ensemble_loss(values, target)
  return loss, {
    'critic_loss': loss,
    'critic_value': jnp.mean(values),
    'target_value': jnp.mean(target),
  }


def policy_loss(
  policy_params: types.Params,
  params: SACParams,
  batch: types.Transition,
  noise: PolicyNoise,
  *,
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the policy's loss; SAC (arXiv 1812.05905), eq. 9.

  With `SACConfig.cloning` it clones what was demonstrated, too; TD3+BC (arXiv
  2106.06860), eq. 3. The action is drawn, so that its spread counts.

  Args:
    policy_params: what is trained; the encoder is not.
    params: the critics and the temperature, held fixed.
    batch: [B, ...].
    noise: of as many rows.
    networks: the agent's.
    config: the agent's.

  Returns:
    the loss [] and metrics.
  """
  params = jax.lax.stop_gradient(params)
  embedding = networks.encoder.apply(params.critic.encoder, batch.observation)
  distribution = networks.policy.apply(policy_params, embedding)
  action, log_prob = distribution.sample_and_log_prob(noise.action)
  values = networks.critic.apply(params.critic.ensemble, embedding, action)
  reduce = {'mean': jnp.mean, 'min': jnp.min}[config.actor_objective]
  loss = soft_actor_critic.policy_loss(
    reduce(values, axis=0), log_prob, jax.nn.softplus(params.temperature)
  )
  metrics = {'actor_loss': loss, 'entropy': -jnp.mean(log_prob)}
  if not config.cloning:
    return loss, metrics
  distance = jnp.sum(jnp.square(action - batch.action), axis=-1)
  error = jnp.mean(distance, where=builder.demonstrated(batch))
  return loss + config.cloning * error, {**metrics, 'cloning_error': error}


def temperature_loss(
  raw_temperature: jax.Array,
  params: SACParams,
  batch: types.Transition,
  noise: PolicyNoise,
  *,
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the temperature's loss; SAC (arXiv 1812.05905), eq. 18.

  Args:
    raw_temperature: what is trained, before softplus, [].
    params: the policy, held fixed.
    batch: [B, ...]; the entropy is that at the next observations.
    noise: of as many rows.
    networks: the agent's.
    config: the agent's.

  Returns:
    the loss [] and metrics.
  """
  _, next_log_prob = act(
    params, batch.next_observation, noise.next_action, networks=networks
  )
  target = config.target_entropy
  if target is None:
    target = -networks.action_size / 2
  temperature = jax.nn.softplus(raw_temperature)
  loss = soft_actor_critic.temperature_loss(
    temperature, -jnp.mean(next_log_prob), target
  )
  return loss, {'temperature_loss': loss, 'temperature': temperature}
