"""The loss of the gripper critic."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from serl import types
from serl.agents import builder
from serl.agents.hybrid import config as hybrid_config
from serl.agents.hybrid import gripper
from serl.agents.hybrid import networks as hybrid_networks
from serl.agents.sac import config as sac_config
from serl.ops import q_learning


class GripperParams(NamedTuple):
  """What the gripper's values are computed with."""

  encoder: types.Params  # of the agent's critics, not trained here
  gripper_critic: types.Params


def gripper_values(
  params: GripperParams,
  observation: types.NestedArray,
  *,
  networks: hybrid_networks.HybridNetworks,
) -> jax.Array:
  """Returns the values [B, 3] of `gripper.CHOICES`."""
  embedding = networks.agent.encoder.apply(params.encoder, observation)
  return networks.gripper_critic.apply(params.gripper_critic, embedding)


def gripper_target(
  params: GripperParams,
  target_params: GripperParams,
  batch: types.Transition,
  *,
  networks: hybrid_networks.HybridNetworks,
  config: hybrid_config.HybridConfig,
  agent_config: sac_config.SACConfig,
) -> tuple[jax.Array, types.Metrics]:
  """Returns what the gripper critic is drawn to; see `ops.double_q_target`.

  HIL-SERL (arXiv 2410.21845). The penalty is subtracted here, from
  the rewards of actions that switch the gripper as it was observed.

  Args:
    params: select the next choice.
    target_params: value it.
    batch: [B, ...], actions with the gripper.
    networks: the agent's and the gripper's.
    config: the penalty, and what closes.
    agent_config: the agent's; of its bounds on the return the larger one alone
      holds here, for the penalty lowers it.

  Returns:
    the targets [B] and metrics.
  """
  chosen = gripper.choices(batch.action, config.closing)
  switched = gripper.switches(chosen, networks.is_closed(batch.observation))
  next_values = gripper_values(
    params, batch.next_observation, networks=networks
  )
  target = q_learning.double_q_target(
    batch.reward - config.penalty * switched,
    agent_config.discount * batch.discount,
    gripper_values(target_params, batch.next_observation, networks=networks),
    next_values,
  )
  if agent_config.return_bounds is not None:
    target = jnp.minimum(target, max(agent_config.return_bounds))
  preferred = jnp.argmax(next_values, axis=-1)
  rates = {
    f'gripper_{name}_rate': jnp.mean(preferred == choice)
    for choice, name in enumerate(gripper.CHOICES)
  }
  return target, {
    'gripper_target_value': jnp.mean(target),
    'gripper_penalty_rate': jnp.mean(switched),
    **rates,
  }


def gripper_loss(
  gripper_params: types.Params,
  encoder_params: types.Params,
  batch: types.Transition,
  target: jax.Array,
  *,
  networks: hybrid_networks.HybridNetworks,
  config: hybrid_config.HybridConfig,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the squared error of the values of what was chosen.

  With `HybridConfig.margin` it adds by how much, on the demonstrated rows, that
  falls short of being worth more than the other choices; DQfD (arXiv
  1704.03732), the large margin loss.

  Args:
    gripper_params: what is trained.
    encoder_params: held fixed.
    batch: [B, ...], actions with the gripper.
    target: of `gripper_target`, [B].
    networks: the agent's and the gripper's.
    config: what closes, and the margin.

  Returns:
    the loss [] and metrics.
  """
  chex.assert_rank(target, 1)
  params = GripperParams(encoder_params, gripper_params)
  all_values = gripper_values(params, batch.observation, networks=networks)
  chosen = gripper.choices(batch.action, config.closing)
  values = q_learning.take(all_values, chosen)
  loss = jnp.mean(jnp.square(values - target))
  metrics = {
    'gripper_critic_loss': loss,
    'gripper_critic_value': jnp.mean(values),
  }
  if not config.margin:
    return loss, metrics
  shortfall = jnp.mean(
    q_learning.margin_loss(all_values, chosen, config.margin),
    where=builder.demonstrated(batch),
  )
  return loss + shortfall, {**metrics, 'gripper_margin_loss': shortfall}
