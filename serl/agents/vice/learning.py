"""VICE's learning rule: train the classifier, relabel, let the agent learn."""

from collections.abc import Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from serl import types
from serl.agents import builder
from serl.agents.classifier import learning as classifier_learning
from serl.agents.classifier import networks as classifier_networks
from serl.agents.vice import config as vice_config
from serl.agents.vice import losses


@dataclasses.dataclass(frozen=True)
class VICENetworks:
  """The agent's networks and the classifier's."""

  agent: Any
  classifier: classifier_networks.ClassifierNetworks


class TrainingState(NamedTuple):
  """All that learning carries from round to round; arrays only."""

  agent: Any
  classifier: classifier_networks.ClassifierParams
  optimiser: optax.OptState
  key: jax.Array


def make_algorithm(
  networks: VICENetworks,
  config: vice_config.VICEConfig,
  agent: builder.Algorithm,
  batch_spec: builder.BatchSpec,
  own_rows: Sequence[int],
) -> builder.Algorithm:
  """Makes VICE's init and update; Fu et al. 2018 (arXiv 1805.11686).

  Args:
    networks: the agent's and the classifier's.
    config: VICE's.
    agent: the wrapped learning rule.
    batch_spec: of the agent; behind its rows of a minibatch stand the goals.
    own_rows: those of the agent's rows that it has collected itself. The
      classifier tells goals from these: demonstrations hold goals, too.
  """
  classifier, rows = networks.classifier, batch_spec.batch_size

  def init(key: types.PRNGKey) -> TrainingState:
    agent_key, classifier_key, key = jax.random.split(key, 3)
    params = classifier_networks.init(classifier, classifier_key)
    optimiser = _make_optimiser(config).init(params)
    return TrainingState(agent.init(agent_key), params, optimiser, key)

  def update(
    state: TrainingState, batch: types.Transition
  ) -> tuple[TrainingState, types.Metrics]:
    _check_batch(batch, batch_spec, config)
    key, *step_keys = jax.random.split(state.key, config.updates_per_round + 1)
    state = state._replace(key=key)
    images = _images(classifier, batch.next_observation)
    metrics: types.Metrics = {}
    for i, step_key in enumerate(step_keys):
      minibatch = jax.tree.map(lambda x, i=i: x[i], images)
      goals = jax.tree.map(lambda x: x[rows:], minibatch)
      others = jax.tree.map(lambda x: x[jnp.array(own_rows)], minibatch)
      state, metrics = classifier_step(
        classifier, config, state, step_key, goals, others
      )
    own = jax.tree.map(lambda x: x[:, :rows], batch)
    own = relabel(classifier, config, state.classifier, own)
    agent_state, agent_metrics = agent.update(state.agent, own)
    if builder.TD_ERROR in agent_metrics:
      # The goals have none.
      behind = ((0, 0), (0, config.goals_per_minibatch))
      td_error = jnp.pad(agent_metrics[builder.TD_ERROR], behind)
      agent_metrics = {**agent_metrics, builder.TD_ERROR: td_error}
    return state._replace(agent=agent_state), {
      **agent_metrics,
      **metrics,
      'vice_reward': jnp.mean(own.reward),
    }

  return builder.Algorithm(init, update)


def classifier_step(
  networks: classifier_networks.ClassifierNetworks,
  config: vice_config.VICEConfig,
  state: TrainingState,
  key: types.PRNGKey,
  goals: types.NestedArray,
  others: types.NestedArray,
) -> tuple[TrainingState, types.Metrics]:
  """Updates the classifier once.

  Args:
    networks: the classifier's.
    config: VICE's.
    state: before the update.
    key: of the update's random draws.
    goals: images [G, ...] by path.
    others: images [N, ...] of which G are drawn.
  """
  row_key, crop_key, noise_key = jax.random.split(key, 3)
  count = config.goals_per_minibatch
  seen = jax.tree.leaves(others)[0].shape[0]
  drawn = jax.random.randint(row_key, (count,), 0, seen)
  goal_key, other_key = jax.random.split(crop_key)
  others = jax.tree.map(lambda x: x[drawn], others)
  gradients, metrics = jax.grad(losses.classifier_loss, has_aux=True)(
    state.classifier,
    classifier_learning.crop(goal_key, goals, config.crop_padding),
    classifier_learning.crop(other_key, others, config.crop_padding),
    losses.draw_noise(noise_key, 2 * count, config.mixup_alpha),
    networks=networks,
    label_smoothing=config.label_smoothing,
    penalty_weight=config.gradient_penalty,
  )
  updates, optimiser = _make_optimiser(config).update(
    gradients, state.optimiser
  )
  params = optax.apply_updates(state.classifier, updates)
  return state._replace(classifier=params, optimiser=optimiser), metrics


def relabel(
  networks: classifier_networks.ClassifierNetworks,
  config: vice_config.VICEConfig,
  params: classifier_networks.ClassifierParams,
  batch: types.Transition,
) -> types.Transition:
  """Returns a batch [updates, rows, ...] with the classifier's rewards.

  The ends of the task count like time limits, unless they are kept: rewards
  that a classifier gives go on behind them.
  """
  images = _images(networks, batch.next_observation)
  flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), images)
  rewards = losses.reward(
    params,
    flat,
    networks=networks,
    kind=config.reward,
    lowest=config.lowest_reward,
  )
  discount = batch.discount
  if not config.keep_terminations:
    discount = jnp.ones_like(discount)
  return batch._replace(
    reward=rewards.reshape(batch.reward.shape), discount=discount
  )


def _images(
  networks: classifier_networks.ClassifierNetworks,
  observation: types.NestedArray,
) -> dict[str, jax.Array]:
  return classifier_networks.take_images(observation, networks.image_spec)


def _make_optimiser(
  config: vice_config.VICEConfig,
) -> optax.GradientTransformation:
  return optax.adam(config.learning_rate)


def _check_batch(
  batch: types.Transition,
  batch_spec: builder.BatchSpec,
  config: vice_config.VICEConfig,
) -> None:
  rows = batch_spec.batch_size + config.goals_per_minibatch
  expected = (batch_spec.updates_per_round, rows)
  if batch.reward.shape != expected:
    raise ValueError(
      f'batch.reward has shape {tuple(batch.reward.shape)}, expected '
      f'[updates_per_round, batch_size + goals] = {list(expected)}: give the '
      'data set the batch_spec() of this builder.'
    )
