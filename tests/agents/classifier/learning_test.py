"""Tests of learning."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from serl import specs
from serl.agents.classifier import data
from serl.agents.classifier import learning
from serl.agents.classifier import networks as classifier_networks

SPEC = {'front': specs.Array((16, 16, 3), np.uint8)}


@pytest.fixture
def networks(config):
  return classifier_networks.make_networks(SPEC, config.network)


def test_learns_to_tell_dark_from_bright(config, networks, episodes):
  examples = data.from_episodes(episodes, SPEC)
  params = learning.fit(networks, config, examples)
  probability = learning.probabilities(networks, params, examples.images)
  assert probability.shape == examples.success.shape
  assert probability[examples.success].min() > 0.8
  assert probability[~examples.success].max() < 0.2


def test_equal_seeds_train_equally(config, networks, episodes):
  config = dataclasses.replace(config, training_steps=2)
  examples = data.from_episodes(episodes, SPEC)
  first, again, other = (
    learning.fit(networks, config, examples, seed) for seed in (0, 0, 1)
  )
  jax.tree.map(np.testing.assert_array_equal, first, again)
  weights = [params.head['logit']['w'] for params in (first, other)]
  assert not np.allclose(*weights)


def test_an_update_takes_the_loss_down(config, networks, episodes):
  examples = data.from_episodes(episodes, SPEC)
  images, label = data.draw(np.random.default_rng(0), examples, 8)
  config = dataclasses.replace(config, crop_padding=0)
  state = learning.init(networks, config, jax.random.PRNGKey(0))
  step = jax.jit(functools.partial(learning.update, networks, config))
  losses = []
  for _ in range(30):
    state, metrics = step(state, images, label)
    losses.append(float(metrics['classifier_loss']))
  assert losses[-1] < losses[0] / 2


def test_each_camera_has_a_crop_of_its_own():
  ramp = np.arange(16, dtype=np.uint8)
  image = np.broadcast_to(ramp[None, None, :, None], (32, 16, 16, 3))
  images = {'a': image, 'b': image}
  cropped = learning.crop(jax.random.PRNGKey(0), images, 4)
  shifts = [np.asarray(cropped[name][:, 8, 8, 0], int) - 8 for name in 'ab']
  assert all(np.abs(shift).max() <= 4 for shift in shifts)
  assert all(len(np.unique(shift)) > 3 for shift in shifts)
  assert not np.array_equal(*shifts)
  assert learning.crop(jax.random.PRNGKey(0), images, 0) is images


def test_probabilities_come_in_parts(config, networks, monkeypatch):
  monkeypatch.setattr(learning, '_TEST_ROWS', 4)
  params = classifier_networks.init(networks, jax.random.PRNGKey(0))
  rng = np.random.default_rng(0)
  images = {'front': rng.integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)}
  logits = classifier_networks.classify(networks, params, images)
  np.testing.assert_allclose(
    learning.probabilities(networks, params, images),
    jax.nn.sigmoid(logits),
    rtol=1e-5,
  )


def test_a_diverged_training_is_an_error(config, networks, episodes):
  config = dataclasses.replace(config)
  # The config refuses it.
  object.__setattr__(config, 'learning_rate', float('inf'))
  examples = data.from_episodes(episodes, SPEC)
  with pytest.raises(FloatingPointError, match=r'Update 60 gave .*nan'):
    learning.fit(networks, config, examples)
