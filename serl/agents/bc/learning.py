"""The learning rule of behaviour cloning: a round is one update."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from serl import types
from serl.agents import builder
from serl.agents.bc import config as bc_config
from serl.agents.bc import losses
from serl.agents.bc import networks as bc_networks
from serl.agents.drq import learning as drq_learning


class TrainingState(NamedTuple):
  """All that learning carries from round to round; arrays only."""

  params: bc_networks.BCParams
  average_params: bc_networks.BCParams  # these act
  optimiser: optax.OptState
  key: jax.Array


def make_algorithm(
  networks: bc_networks.BCNetworks, config: bc_config.BCConfig
) -> builder.Algorithm:
  """Makes the init and the update, of batches [1, batch_size, ...]."""
  optimiser = optax.adamw(
    config.learning_rate, weight_decay=config.weight_decay
  )

  def init(key: types.PRNGKey) -> TrainingState:
    encoder_key, policy_key, key = jax.random.split(key, 3)
    params = bc_networks.BCParams(
      encoder=networks.encoder.init(encoder_key),
      policy=networks.policy.init(policy_key),
    )
    # A copy: a buffer that stands twice in the state cannot be donated.
    average_params = jax.tree.map(jnp.copy, params)
    return TrainingState(params, average_params, optimiser.init(params), key)

  def update(
    state: TrainingState, batch: types.Transition
  ) -> tuple[TrainingState, types.Metrics]:
    key, augmentation_key = jax.random.split(state.key)
    batch = drq_learning.augment(
      augmentation_key, batch, config.crop_padding, config.color_jitter
    )
    batch = jax.tree.map(lambda x: x[0], batch)
    gradients, metrics = jax.grad(losses.loss, has_aux=True)(
      state.params, batch.observation, batch.action, networks=networks
    )
    updates, optimiser_state = optimiser.update(
      gradients, state.optimiser, state.params
    )
    params = optax.apply_updates(state.params, updates)
    # Early on the mean of all updates, so that the start is soon forgotten.
    count = optax.tree_utils.tree_get(optimiser_state, 'count')
    rate = jnp.maximum(config.average_rate, 1 / count)
    average_params = optax.incremental_update(
      params, state.average_params, rate
    )
    state = TrainingState(params, average_params, optimiser_state, key)
    return state, metrics

  return builder.Algorithm(init, update)
