"""Tests of training."""

import numpy as np
import pytest

from serl.agents.classifier import saving
from serl.agents.classifier import training


def test_from_episodes_to_a_file_and_back(
  config, episodes, make_episode, tmp_path
):
  trained, report = training.train(config, episodes)
  found = report.describe()
  assert found['episodes'] == 3
  assert found['area_under_curve'] > 0.99
  assert trained.threshold == report.threshold
  assert trained.report == found
  # Of the images alone: proprioception is not looked at.
  assert list(trained.networks.image_spec) == ['front']
  path = tmp_path / 'classifier.safetensors'
  saving.save(path, trained)
  fresh = [make_episode([0, 0, 1, 1], seed) for seed in range(100, 103)]
  tested = training.test(saving.load(path), fresh)
  assert tested.threshold == trained.threshold
  assert tested.describe()['confusion']['true_positives'] == 6
  assert tested.describe()['false_positive_rate'] == 0
  strict = training.test(trained, fresh, threshold=1.0).describe()
  assert strict['confusion']['true_positives'] == 0


def test_refuses_nothing(config):
  with pytest.raises(ValueError, match='no episodes to learn from'):
    training.train(config, [])


def test_refuses_to_test_on_other_images(config, episodes):
  trained, _ = training.train(config, episodes)
  floats = episodes[0]._replace(
    observation={'front': np.zeros((11, 16, 16, 3), np.float32)}
  )
  with pytest.raises(ValueError, match=r'episode 0: front .*float32'):
    training.test(trained, [floats])
