"""Small labelled episodes: a success is where the images are bright."""

import numpy as np
import pytest

from serl import types
from serl.agents.classifier import config as classifier_config
from serl.networks import encoders

SIZE = 16


def _make_episode(labels, seed=0):
  """Returns an episode of one camera; dark is failure, bright is success."""
  rng = np.random.default_rng(seed)
  steps = len(labels)
  shown = np.concatenate([[0], labels]).astype(np.uint8)
  noise = rng.integers(0, 60, (steps + 1, SIZE, SIZE, 3))
  images = (noise + 150 * shown[:, None, None, None]).astype(np.uint8)
  return types.Episode(
    observation={
      'front': images,
      'tcp_pos': rng.normal(size=(steps + 1, 3)).astype(np.float32),
    },
    action=np.zeros((steps, 2), np.float32),
    reward=np.zeros(steps, np.float32),
    discount=np.ones(steps, np.float32),
    extras={'success': np.asarray(labels, np.uint8)},
  )


@pytest.fixture
def make_episode():
  return _make_episode


@pytest.fixture
def episodes():
  """Six episodes with successes at their end, two without any."""
  ends = [_make_episode([0] * 6 + [1] * 4, seed) for seed in range(6)]
  return ends + [_make_episode([0] * 10, 6 + seed) for seed in range(2)]


@pytest.fixture
def config():
  network = classifier_config.NetworkConfig(
    encoder=encoders.EncoderConfig(features=(4, 4), bottleneck_size=8),
    hidden_size=8,
  )
  return classifier_config.ClassifierConfig(
    network,
    crop_padding=1,
    batch_size=8,
    training_steps=60,
    learning_rate=1e-2,
  )
