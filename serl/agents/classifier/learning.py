"""How the reward classifier is trained."""

import functools
from typing import NamedTuple

from absl import logging
import jax
import numpy as np
import optax

from serl import types
from serl.agents.classifier import config as classifier_config
from serl.agents.classifier import data
from serl.agents.classifier import losses
from serl.agents.classifier import networks as classifier_networks
from serl.ops import augmentation

_LOG_EVERY = 100  # updates
_TEST_ROWS = 256  # at once


class TrainingState(NamedTuple):
  """All that training carries from update to update; arrays only."""

  params: classifier_networks.ClassifierParams
  optimiser: optax.OptState
  key: jax.Array


def init(
  networks: classifier_networks.ClassifierNetworks,
  config: classifier_config.ClassifierConfig,
  key: types.PRNGKey,
) -> TrainingState:
  """Returns the state to start from."""
  params_key, key = jax.random.split(key)
  params = classifier_networks.init(networks, params_key)
  return TrainingState(params, _make_optimiser(config).init(params), key)


def update(
  networks: classifier_networks.ClassifierNetworks,
  config: classifier_config.ClassifierConfig,
  state: TrainingState,
  images: types.NestedArray,
  label: jax.Array,
) -> tuple[TrainingState, types.Metrics]:
  """Updates the classifier once.

  Args:
    networks: the classifier's.
    config: of the training.
    state: before the update.
    images: [B, ...] uint8, by path.
    label: [B], 1 for a success and 0 for a failure.
  """
  key, crop_key, dropout_key = jax.random.split(state.key, 3)
  gradients, metrics = jax.grad(losses.classifier_loss, has_aux=True)(
    state.params,
    crop(crop_key, images, config.crop_padding),
    label,
    dropout_key,
    networks=networks,
  )
  updates, optimiser = _make_optimiser(config).update(
    gradients, state.optimiser
  )
  params = optax.apply_updates(state.params, updates)
  return TrainingState(params, optimiser, key), metrics


def crop(
  key: types.PRNGKey, images: types.NestedArray, padding: int
) -> types.NestedArray:
  """Returns images [B, ...] by path, each shifted by up to `padding` pixels."""
  if not padding:
    return images
  cropped = {}
  for path, path_key in zip(images, jax.random.split(key, len(images))):
    rows = images[path].shape[0]
    offsets = augmentation.draw_crop_offsets(path_key, rows, padding)
    cropped[path] = augmentation.random_crop(images[path], offsets, padding)
  return cropped


def fit(
  networks: classifier_networks.ClassifierNetworks,
  config: classifier_config.ClassifierConfig,
  examples: data.Examples,
  seed: int = 0,
) -> classifier_networks.ClassifierParams:
  """Trains parameters from the start.

  Args:
    networks: the classifier's.
    config: of the training.
    examples: of both classes.
    seed: of the parameters and of all draws.

  Raises:
    FloatingPointError: the loss is not finite.
  """
  rng = np.random.default_rng(seed)
  state = init(networks, config, jax.random.PRNGKey(seed))
  step = jax.jit(functools.partial(update, networks, config), donate_argnums=0)
  for i in range(1, config.training_steps + 1):
    state, metrics = step(state, *data.draw(rng, examples, config.batch_size))
    if i % _LOG_EVERY and i != config.training_steps:
      continue
    found = {name: float(value) for name, value in metrics.items()}
    logging.info('Update %d of %d: %s.', i, config.training_steps, found)
    if not np.isfinite(found['classifier_loss']):
      raise FloatingPointError(
        f'Update {i} gave {found}, expected finite numbers; try a lower '
        f'learning rate than {config.learning_rate:g}.'
      )
  return state.params


def probabilities(
  networks: classifier_networks.ClassifierNetworks,
  params: classifier_networks.ClassifierParams,
  images: types.NestedArray,
) -> np.ndarray:
  """Returns the probabilities of success [N] of images [N, ...] by path."""

  @jax.jit
  def evaluate(params, images):
    logits = classifier_networks.classify(networks, params, images)
    return jax.nn.sigmoid(logits)

  count = len(next(iter(images.values())))
  parts = []
  for begin in range(0, count, _TEST_ROWS):
    rows = np.minimum(np.arange(begin, begin + _TEST_ROWS), count - 1)
    batch = {path: column[rows] for path, column in images.items()}
    parts.append(np.asarray(evaluate(params, batch)))
  return np.concatenate(parts)[:count]


def _make_optimiser(
  config: classifier_config.ClassifierConfig,
) -> optax.GradientTransformation:
  return optax.adam(config.learning_rate)
