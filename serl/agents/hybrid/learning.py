"""The hybrid's learning rule: SAC's round, and the gripper critic beside it."""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from serl import types
from serl.agents import builder
from serl.agents.hybrid import config as hybrid_config
from serl.agents.hybrid import losses
from serl.agents.hybrid import networks as hybrid_networks
from serl.agents.sac import config as sac_config
from serl.agents.sac import learning as sac_learning
from serl.agents.sac import quirks

# (key, batch [updates, rows, ...]) -> the batch, changed at random
Augment = Callable[[types.PRNGKey, types.Batch], types.Batch]


class TrainingState(NamedTuple):
  """All that learning carries from round to round; arrays only."""

  agent: sac_learning.TrainingState
  gripper_params: types.Params
  target_gripper_params: types.Params
  gripper_optimiser: optax.OptState


def make_algorithm(
  networks: hybrid_networks.HybridNetworks,
  config: hybrid_config.HybridConfig,
  agent_config: sac_config.SACConfig,
  augment: Augment = lambda key, batch: batch,
  unroll: bool = False,
) -> builder.Algorithm:
  """Makes the hybrid's init and update.

  Args:
    networks: the agent's and the gripper's.
    config: the gripper's.
    agent_config: the agent's.
    augment: changes the round's batch before both learn from it.
    unroll: see `sac.learning.update_round`.
  """

  def init(key: types.PRNGKey) -> TrainingState:
    agent_key, gripper_key = jax.random.split(key)
    params = networks.gripper_critic.init(gripper_key)
    return TrainingState(
      agent=sac_learning.init(networks.agent, agent_config, agent_key),
      gripper_params=params,
      # A copy: a buffer that stands twice in the state cannot be donated.
      target_gripper_params=jax.tree.map(jnp.copy, params),
      gripper_optimiser=_make_optimiser(agent_config).init(params),
    )

  def update(
    state: TrainingState, batch: types.Batch
  ) -> tuple[TrainingState, types.Metrics]:
    sac_learning.check_batch(batch, agent_config)
    key, augmentation_key, noise_key = jax.random.split(state.agent.key, 3)
    return update_round(
      state._replace(agent=state.agent._replace(key=key)),
      augment(augmentation_key, batch),
      sac_learning.draw_noise(networks.agent, agent_config, noise_key),
      networks=networks,
      config=config,
      agent_config=agent_config,
      unroll=unroll,
    )

  return builder.Algorithm(init, update)


def update_round(
  state: TrainingState,
  batch: types.Batch,
  noise: sac_learning.RoundNoise,
  *,
  networks: hybrid_networks.HybridNetworks,
  config: hybrid_config.HybridConfig,
  agent_config: sac_config.SACConfig,
  unroll: bool = False,
) -> tuple[TrainingState, types.Metrics]:
  """Updates all critics with each minibatch, then policy and temperature.

  The gripper critic goes first and reads the encoder that SAC's critics are
  about to train: both embed the same, which is computed once.

  Args:
    state: before the round.
    batch: [updates_per_round, batch_size, ...], actions with the gripper.
    noise: the round's.
    networks: the agent's and the gripper's.
    config: the gripper's.
    agent_config: the agent's.
    unroll: see `sac.learning.update_round`.

  Returns:
    the state after the round, and the metrics: of the critics the mean over
    the round.
  """

  def step(state, inputs):
    minibatch, critic_noise = inputs
    state, gripper_metrics = gripper_step(
      state,
      minibatch,
      networks=networks,
      config=config,
      agent_config=agent_config,
    )
    agent, critic_metrics = sac_learning.critic_step(
      networks.agent,
      agent_config,
      state.agent,
      without_gripper(minibatch),
      critic_noise,
    )
    return state._replace(agent=agent), {**critic_metrics, **gripper_metrics}

  state, critic_metrics = jax.lax.scan(
    step, state, (batch, noise.critic), unroll=unroll
  )
  agent, metrics = sac_learning.policy_step(
    networks.agent,
    agent_config,
    state.agent,
    quirks.policy_rows(agent_config.quirks, without_gripper(batch)),
    noise.policy,
  )
  metrics = {**sac_learning.mean_metrics(critic_metrics), **metrics}
  return state._replace(agent=agent), metrics


def gripper_step(
  state: TrainingState,
  batch: types.Batch,
  *,
  networks: hybrid_networks.HybridNetworks,
  config: hybrid_config.HybridConfig,
  agent_config: sac_config.SACConfig,
) -> tuple[TrainingState, types.Metrics]:
  """Updates the gripper critic once, then moves its target towards it."""
  encoder = state.agent.params.critic.encoder
  target_encoder = state.agent.target_critic_params.encoder
  bounds = agent_config.return_bounds
  target, target_metrics = losses.gripper_target(
    losses.GripperParams(encoder, state.gripper_params),
    losses.GripperParams(target_encoder, state.target_gripper_params),
    batch,
    networks=networks,
    discount=agent_config.discount,
    closing=config.closing,
    penalty=config.penalty,
    largest_return=None if bounds is None else max(bounds),
  )
  gradients, metrics = jax.grad(losses.gripper_loss, has_aux=True)(
    state.gripper_params,
    encoder,
    batch,
    target,
    batch.weight,
    networks=networks,
    closing=config.closing,
    margin=config.margin,
    demonstrated=builder.demonstrated(batch),
  )
  updates, optimiser = _make_optimiser(agent_config).update(
    gradients, state.gripper_optimiser
  )
  params = optax.apply_updates(state.gripper_params, updates)
  state = state._replace(
    gripper_params=params,
    target_gripper_params=optax.incremental_update(
      params, state.target_gripper_params, agent_config.target_rate
    ),
    gripper_optimiser=optimiser,
  )
  return state, {**target_metrics, **metrics}


def without_gripper(batch: types.Batch) -> types.Batch:
  """Returns a batch for the continuous policy and its critics."""
  return batch._replace(action=batch.action[..., :-1])


def _make_optimiser(
  agent_config: sac_config.SACConfig,
) -> optax.GradientTransformation:
  # It is stepped with the critics alone, whatever others are.
  config = dataclasses.replace(agent_config, quirks=quirks.SERLQuirks())
  return sac_learning.make_optimisers(config).critic
