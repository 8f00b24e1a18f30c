"""The loss of the gripper critic, of arrays and scalars."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from serl import types
from serl.agents import checks
from serl.agents.hybrid import gripper
from serl.agents.hybrid import networks as hybrid_networks
from serl.ops import averages
from serl.ops import lazy_rlax as rlax
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
  discount: float,
  closing: float,
  penalty: float = 0.0,
  largest_return: float | None = None,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the gripper critic's targets; see `ops.double_q_target`.

  HIL-SERL (arXiv 2410.21845). The penalty is subtracted here, from
  the rewards of actions that switch the gripper as it was observed.

  Args:
    params: select the next choice.
    target_params: value it.
    batch: [B, ...], actions with the gripper.
    networks: the agent's and the gripper's.
    discount: the agent's own, beside the batch's.
    closing: see `HybridConfig`.
    penalty: see `HybridConfig`.
    largest_return: the largest target, None for no bound. There is no least
      one, for the penalty lowers the returns.

  Returns:
    the targets [B] and metrics.
  """
  checks.check_batch(batch, networks.agent.action_size + 1)
  chosen = gripper.choices(batch.action, closing)
  switched = gripper.switches(chosen, networks.is_closed(batch.observation))
  next_values = gripper_values(
    params, batch.next_observation, networks=networks
  )
  target = q_learning.double_q_target(
    batch.reward - penalty * switched,
    discount * batch.discount,
    gripper_values(target_params, batch.next_observation, networks=networks),
    next_values,
  )
  if largest_return is not None:
    target = jnp.minimum(target, largest_return)
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
  weight: jax.Array,
  *,
  networks: hybrid_networks.HybridNetworks,
  closing: float,
  margin: float = 0.0,
  demonstrated: jax.Array | None = None,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the squared error of the values of what was chosen.

  With `margin` it adds by how much, on the demonstrated rows, that falls short
  of being worth more than the other choices; DQfD (arXiv 1704.03732), the large
  margin loss.

  Args:
    gripper_params: what is trained.
    encoder_params: held fixed.
    batch: [B, ...], actions with the gripper.
    target: of `gripper_target`, [B].
    weight: of each row's error, [B].
    networks: the agent's and the gripper's.
    closing: see `HybridConfig`.
    margin: see `HybridConfig`.
    demonstrated: the rows of the margin, [B] bool; None is all of them.

  Returns:
    the loss [] and metrics.
  """
  checks.check_batch(batch, networks.agent.action_size + 1)
  rows = len(batch.reward)
  checks.check_vector(target, rows)
  checks.check_vector(weight, rows)
  params = GripperParams(encoder_params, gripper_params)
  values = gripper_values(params, batch.observation, networks=networks)
  chosen = gripper.choices(batch.action, closing)
  loss = q_learning.chosen_loss(values, chosen, target, weight)
  metrics = {
    'gripper_critic_loss': loss,
    'gripper_critic_value': jnp.mean(rlax.batched_index(values, chosen)),
  }
  if not margin:
    return loss, metrics
  if demonstrated is None:
    demonstrated = jnp.ones(rows, bool)
  shortfall = averages.masked_mean(
    q_learning.margin_loss(values, chosen, margin), demonstrated
  )
  return loss + shortfall, {**metrics, 'gripper_margin_loss': shortfall}
