"""Tests of losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.agents.classifier import networks as classifier_networks
from serl.agents.vice import losses
from serl.networks import feed_forward


@pytest.fixture
def networks():
  """The logit is the parameter times the mean of the image's one pixel."""
  return classifier_networks.ClassifierNetworks(
    encoder=feed_forward.FeedForward(
      None, lambda params, x: x['front'].reshape(-1, 1).astype(jnp.float32)
    ),
    head=feed_forward.FeedForward(
      None, lambda params, embedding, key: params * embedding[:, 0]
    ),
    image_spec={'front': None},
  )


def _images(*values):
  return {'front': np.array(values, np.uint8).reshape(-1, 1, 1, 1)}


def _params(factor):
  return classifier_networks.ClassifierParams({}, jnp.float32(factor))


def _noise(weight, partner, between):
  return losses.Noise(
    np.array(partner), np.array(weight), np.array(between), None
  )


def test_mixing_by_hand():
  rows = np.array([[100, 0], [0, 201]], np.uint8)
  mixed = losses.mix(rows, np.array([1, 0]), np.array([0.25, 0.5]))
  assert mixed.dtype == jnp.uint8
  np.testing.assert_array_equal(mixed, [[25, 151], [50, 100]])
  labels = losses.mix(
    np.array([1.0, 0.0]), np.array([1, 0]), np.array([0.25, 0.5])
  )
  np.testing.assert_allclose(labels, [0.25, 0.5])


def test_the_loss_by_hand(networks):
  noise = _noise([1.0, 0.5], [1, 0], [0.5])
  loss, metrics = losses.classifier_loss(
    _params(0.1),
    _images(20),
    _images(10),
    noise,
    networks=networks,
    label_smoothing=0.2,
  )
  # Images 20 and 15, labels 0.9 and the middle of 0.9 and 0.1.
  logits, labels = np.array([2.0, 1.5]), np.array([0.9, 0.5])
  expected = np.log1p(np.exp(-logits)) + (1 - labels) * logits
  np.testing.assert_allclose(loss, expected.mean(), rtol=1e-6)
  np.testing.assert_allclose(metrics['vice_accuracy'], 0.5)


def test_the_penalty_has_its_weight(networks):
  arguments = (_images(20), _images(10), _noise([1, 1], [0, 1], [0.5]))

  def loss(factor, weight):
    return losses.classifier_loss(
      _params(factor), *arguments, networks=networks, penalty_weight=weight
    )[0]

  # The gradient's norm is the factor.
  difference = loss(0.1, 10.0) - loss(0.1, 0.0)
  np.testing.assert_allclose(difference, 10 * 0.9**2, rtol=1e-4)
  np.testing.assert_allclose(loss(1.0, 10.0), loss(1.0, 0.0), atol=1e-6)


def test_the_gradient_penalty_by_hand():
  # f(x) = x0^2 + 2 x1 has the gradient (2 x0, 2).
  function = lambda x: x[:, 0] ** 2 + 2 * x[:, 1]
  points = jnp.array([[1.0, 0.0], [0.0, 0.0], [3.0, 5.0], [4.0, 5.0]])
  between = jnp.array([0.5, 1.0])
  found = losses.gradient_penalty(function, points, between)
  norms = np.array([np.hypot(4, 2), 2])  # at x0 = 2 and 0
  np.testing.assert_allclose(found, np.mean((norms - 1) ** 2), rtol=1e-5)


def test_the_gradient_penalty_is_finite_where_the_gradient_is_0():
  penalty = lambda factor: losses.gradient_penalty(
    lambda x: factor * x[:, 0], jnp.ones((2, 1)), jnp.ones(1)
  )
  assert np.isfinite(jax.grad(penalty)(0.0))


@pytest.mark.parametrize(
  'kind, expected',
  [
    ('log_probability', [np.log(0.5), -np.log1p(np.exp(2)), -5.0]),
    ('probability', [0.5, 1 / (1 + np.exp(2)), 1 / (1 + np.exp(20))]),
  ],
)
def test_the_reward_by_hand(networks, kind, expected):
  rewards = losses.reward(
    _params(-0.1), _images(0, 20, 200), networks=networks, kind=kind
  )
  np.testing.assert_allclose(rewards, expected, rtol=1e-5)


def test_noise_mixes_all_rows_or_none():
  key = jax.random.PRNGKey(0)
  noise = losses.draw_noise(key, 64, 1.0)
  np.testing.assert_array_equal(np.sort(noise.partner), np.arange(64))
  assert 0 <= noise.weight.min() < 0.2 and 0.8 < noise.weight.max() <= 1
  assert noise.between.shape == (32,)
  none = losses.draw_noise(key, 64, 0.0)
  np.testing.assert_array_equal(none.weight, 1)


def test_as_many_goals_as_others_are_compared(networks):
  noise = _noise([1, 1], [0, 1], [0.5])
  loss = lambda *images: losses.classifier_loss(
    _params(0.1), *images, noise, networks=networks
  )
  loss(_images(20), _images(10))
  for images in (
    (_images(20, 20), _images(10)),
    (_images(20), _images(10, 10)),
    (_images(20, 20), _images(10, 10)),
  ):
    with pytest.raises(AssertionError):
      loss(*images)
