"""How far a policy is from what was demonstrated."""

import chex
import jax
import jax.numpy as jnp

from serl import types
from serl.agents import checks
from serl.agents.bc import networks as bc_networks


def measure(
  params: bc_networks.BCParams,
  observation: types.NestedArray,
  action: jax.Array,
  *,
  networks: bc_networks.BCNetworks,
) -> dict[str, jax.Array]:
  """Measures the policy on each of B steps.

  Args:
    params: of the policy.
    observation: [B, ...].
    action: what was done on it, [B, A].
    networks: the agent's.

  Returns:
    Values [B]: 'movement_loss', the negative log-likelihood of the movement,
    'movement_error', its mean distance from the most likely one, and with
    grippers 'gripper_loss', the cross-entropy of their classes, and
    'gripper_error', the part of them that the most likely action gets wrong;
    'loss' is the losses' sum.
  """
  sizes = len(networks.movement_indices), len(networks.gripper_indices)
  chex.assert_shape(action, (None, sum(sizes)))
  chex.assert_type(action, float)
  checks.check_rows(observation, len(action))
  output = networks.apply(params, observation)
  movement, classes = networks.split_action(action)
  best_movement, best_classes = networks.split_action(
    bc_networks.mode(networks, output)
  )
  movement_loss = -output.movement.log_prob(movement)
  measures = {
    'loss': movement_loss,
    'movement_loss': movement_loss,
    'movement_error': jnp.mean(jnp.abs(best_movement - movement), axis=-1),
  }
  if not networks.gripper_indices:
    return measures
  log_prob = jax.nn.log_softmax(output.gripper)
  chosen = jnp.take_along_axis(log_prob, classes[..., None], axis=-1)[..., 0]
  gripper_loss = -jnp.sum(chosen, axis=-1)
  return {
    **measures,
    'loss': movement_loss + gripper_loss,
    'gripper_loss': gripper_loss,
    'gripper_error': jnp.mean(1.0 * (best_classes != classes), axis=-1),
  }


def loss(
  params: bc_networks.BCParams,
  observation: types.NestedArray,
  action: jax.Array,
  *,
  networks: bc_networks.BCNetworks,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the mean of `measure`'s loss, [], and of all it measures."""
  measures = measure(params, observation, action, networks=networks)
  means = {name: jnp.mean(values) for name, values in measures.items()}
  return means['loss'], means
