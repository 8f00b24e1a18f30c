"""The losses of SAC, of arrays and scalars. Noise is an argument, drawn apart.

They evaluate `SACNetworks`, or an object with its `encoder`, `policy`, `critic`
and `action_size`, and read no configuration, so that other agents borrow them.
"""

from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from serl import types
from serl.agents import builder
from serl.agents import checks
from serl.agents.sac import networks as sac_networks
from serl.networks import critics
from serl.ops import averages
from serl.ops import soft_actor_critic

ActorObjective = Literal['mean', 'min']
_REDUCTIONS = {'mean': jnp.mean, 'min': jnp.min}


class SACParams(NamedTuple):
  """A value for each of the three that are trained: parameters, optimisers."""

  policy: Any
  critic: Any  # parameters: CriticParams
  temperature: Any  # parameters: [] before softplus


class CriticNoise(NamedTuple):
  """The random draws of one critic update."""

  next_action: jax.Array  # [B, action_size] standard normal
  members: jax.Array  # [M] int32, the target critics drawn


class PolicyNoise(NamedTuple):
  """The random draws of one update of policy and temperature."""

  action: jax.Array  # [B, action_size] standard normal
  next_action: jax.Array  # [B, action_size] standard normal


def draw_critic_noise(
  key: types.PRNGKey,
  batch_size: int,
  action_size: int,
  members: int,
  drawn: int,
  with_replacement: bool = False,
) -> CriticNoise:
  """Draws the noise of one critic update.

  Args:
    key: a random key.
    batch_size: rows of the minibatch, B.
    action_size: of the agent's actions.
    members: critics in the ensemble.
    drawn: how many of them are in the target, M.
    with_replacement: whether one may be drawn twice.
  """
  action_key, member_key = jax.random.split(key)
  return CriticNoise(
    next_action=jax.random.normal(action_key, (batch_size, action_size)),
    members=jax.random.choice(
      member_key, members, (drawn,), replace=with_replacement
    ),
  )


def draw_policy_noise(
  key: types.PRNGKey, batch_size: int, action_size: int
) -> PolicyNoise:
  """Draws the noise of one update of policy and temperature."""
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
  chex.assert_shape(noise, (None, networks.action_size))
  checks.check_rows(observation, len(noise))
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
  discount: float,
  entropy_in_backup: bool = False,
  return_bounds: tuple[float, float] | None = None,
) -> jax.Array:
  """Returns the critics' targets, [B]; see `ops.soft_target`.

  Only the drawn members of the target ensemble are evaluated.

  Args:
    params: the policy that acts next, and the temperature.
    target_params: the critics that value its actions.
    batch: [B, ...].
    noise: of as many rows.
    networks: the agent's.
    discount: the agent's own, beside the batch's.
    entropy_in_backup: whether the next action's entropy counts.
    return_bounds: the least and the largest target; HER (arXiv 1707.01495),
      appendix A. None bounds nothing.
  """
  checks.check_batch(batch, networks.action_size)
  chex.assert_rank(noise.members, 1)
  chex.assert_type(noise.members, int)
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
  if entropy_in_backup:
    bonus = -jax.nn.softplus(params.temperature) * next_log_prob
  target = soft_actor_critic.soft_target(
    batch.reward, discount * batch.discount, next_values, bonus
  )
  if return_bounds is not None:
    target = jnp.clip(target, *return_bounds)
  return target


def critic_loss(
  critic_params: sac_networks.CriticParams,
  batch: types.Transition,
  target: jax.Array,
  weight: jax.Array,
  *,
  networks: sac_networks.SACNetworks,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the critics' squared error; REDQ (arXiv 2101.05982), algorithm 1.

  Each row's counts by its weight. The metrics have the size of its TD error,
  the mean over the ensemble.

  Args:
    critic_params: what is trained.
    batch: [B, ...].
    target: of the values, [B], such as `critic_target` returns.
    weight: of each row's error, [B].
    networks: the agent's; the encoder and the critics are evaluated.

  Returns:
    the loss [] and metrics.
  """
  checks.check_batch(batch, networks.action_size)
  rows = len(batch.reward)
  checks.check_vector(target, rows)
  checks.check_vector(weight, rows)
  embedding = networks.encoder.apply(critic_params.encoder, batch.observation)
  values = networks.critic.apply(
    critic_params.ensemble, embedding, batch.action
  )
  loss = soft_actor_critic.ensemble_loss(values, target, weight)
  return loss, {
    builder.TD_ERROR: jnp.mean(jnp.abs(values - target), axis=0),
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
  objective: ActorObjective = 'mean',
  cloning: float = 0.0,
  demonstrated: jax.Array | None = None,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the policy's loss; SAC (arXiv 1812.05905), eq. 9.

  With `cloning` it clones what was demonstrated, too; TD3+BC (arXiv
  2106.06860), eq. 3. The action is drawn, so that its spread counts.

  Args:
    policy_params: what is trained; the encoder is not.
    params: the critics and the temperature, held fixed.
    batch: [B, ...].
    noise: of as many rows.
    networks: the agent's.
    objective: what of the ensemble's values the policy ascends.
    cloning: weight of the squared distance from the batch's actions.
    demonstrated: the rows that are cloned, [B] bool; None is all of them.

  Returns:
    the loss [] and metrics.
  """
  checks.check_batch(batch, networks.action_size)
  chex.assert_equal_shape([noise.action, batch.action])
  params = jax.lax.stop_gradient(params)
  embedding = networks.encoder.apply(params.critic.encoder, batch.observation)
  distribution = networks.policy.apply(policy_params, embedding)
  action, log_prob = distribution.sample_and_log_prob(noise.action)
  values = networks.critic.apply(params.critic.ensemble, embedding, action)
  loss = soft_actor_critic.policy_loss(
    _REDUCTIONS[objective](values, axis=0),
    log_prob,
    jax.nn.softplus(params.temperature),
  )
  metrics = {'actor_loss': loss, 'entropy': -jnp.mean(log_prob)}
  if not cloning:
    return loss, metrics
  if demonstrated is None:
    demonstrated = jnp.ones(log_prob.shape, bool)
  distance = jnp.sum(jnp.square(action - batch.action), axis=-1)
  error = averages.masked_mean(distance, demonstrated)
  return loss + cloning * error, {**metrics, 'cloning_error': error}


def temperature_loss(
  raw_temperature: jax.Array,
  params: SACParams,
  batch: types.Transition,
  noise: PolicyNoise,
  *,
  networks: sac_networks.SACNetworks,
  target_entropy: float,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the temperature's loss; SAC (arXiv 1812.05905), eq. 18.

  Args:
    raw_temperature: what is trained, before softplus, [].
    params: the policy, held fixed.
    batch: [B, ...]; the entropy is that at the next observations.
    noise: of as many rows.
    networks: the agent's.
    target_entropy: what the entropy should at least be, in nats.

  Returns:
    the loss [] and metrics.
  """
  chex.assert_rank(raw_temperature, 0)
  checks.check_batch(batch, networks.action_size)
  chex.assert_equal_shape([noise.next_action, batch.action])
  _, next_log_prob = act(
    params, batch.next_observation, noise.next_action, networks=networks
  )
  temperature = jax.nn.softplus(raw_temperature)
  loss = soft_actor_critic.temperature_loss(
    temperature, -jnp.mean(next_log_prob), target_entropy
  )
  return loss, {'temperature_loss': loss, 'temperature': temperature}
