"""Tests of losses."""

import jax
import numpy as np

from serl.agents.classifier import losses
from serl.agents.classifier import networks as classifier_networks
from serl.networks import feed_forward


def test_cross_entropy_by_hand():
  networks = classifier_networks.ClassifierNetworks(
    encoder=feed_forward.FeedForward(None, lambda params, x: x['image']),
    head=feed_forward.FeedForward(None, lambda params, x, key: params * x),
    image_spec={},
  )
  params = classifier_networks.ClassifierParams({}, np.float32(1))
  logits = np.array([0.0, 2.0, -1.0], np.float32)
  label = np.array([1.0, 1.0, 0.0], np.float32)
  loss, metrics = losses.classifier_loss(
    params, {'image': logits}, label, jax.random.PRNGKey(0), networks=networks
  )
  # -log of 1/2, of sigmoid(2) and of 1 - sigmoid(-1).
  expected = np.mean([np.log(2), np.log1p(np.exp(-2)), np.log1p(np.exp(-1))])
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  # A logit of 0 says failure.
  np.testing.assert_allclose(metrics['accuracy'], 2 / 3, rtol=1e-6)
