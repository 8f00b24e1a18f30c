"""Tests of distributions."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import distributions
from serl.ops import lazy_rlax


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_worked_by_hand(wrap):
  # u = 0.5 + 2 * 1 = 2.5. log N = -1/2 - log 2 - log(2 pi)/2 = -2.1120857,
  # log(1 - tanh(2.5)^2) = log 0.02659223 = -3.6271363.
  def sample(mean, std, noise):
    return distributions.TanhNormal(mean, std).sample_and_log_prob(noise)

  action, log_prob = wrap(sample)(
    jnp.array([[0.5, 0.0]]), jnp.array([[2.0, 1.0]]), jnp.array([[1.0, 0.0]])
  )
  np.testing.assert_allclose(action, [[np.tanh(2.5), 0.0]], rtol=1e-6)
  # The second number adds log N(0; 0, 1) = -0.9189385, its Jacobian is 1.
  np.testing.assert_allclose(
    log_prob, [-2.1120857 + 3.6271363 - 0.9189385], rtol=1e-5
  )


def test_log_prob_stays_finite_where_tanh_saturates():
  distribution = distributions.TanhNormal(jnp.array([20.0]), jnp.array([1.0]))
  action, log_prob = distribution.sample_and_log_prob(jnp.array([0.0]))
  assert action[0] == 1.0
  # log(1 - tanh(20)^2) = 2 log 2 - 40 to float32's precision.
  np.testing.assert_allclose(
    log_prob, -0.9189385 - (2 * np.log(2) - 40), rtol=1e-5
  )


def test_density_integrates_to_one():
  pre_tanh = jnp.linspace(-6, 6, 4001)[:, None]
  mean, std = jnp.full_like(pre_tanh, 0.3), jnp.full_like(pre_tanh, 0.7)
  action, log_prob = distributions.TanhNormal(mean, std).sample_and_log_prob(
    (pre_tanh - mean) / std
  )
  total = jax.scipy.integrate.trapezoid(jnp.exp(log_prob), action[:, 0])
  np.testing.assert_allclose(total, 1.0, rtol=1e-4)


def test_mode_and_sample_without_noise_agree():
  distribution = distributions.TanhNormal(jnp.array([0.7]), jnp.array([3.0]))
  np.testing.assert_allclose(distribution.mode(), np.tanh([0.7]), rtol=1e-6)
  np.testing.assert_allclose(
    distribution.sample(jnp.zeros(1)), distribution.mode()
  )


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_normal_log_prob_worked_by_hand(wrap):
  # log N(1; 0, 2) = -1/8 - log 2 - log(2 pi)/2, log N(3; 3, 1) = -0.9189385.
  def log_prob(mean, std, action):
    return distributions.Normal(mean, std).log_prob(action)

  found = wrap(log_prob)(
    jnp.array([[0.0, 3.0]]), jnp.array([[2.0, 1.0]]), jnp.array([[1.0, 3.0]])
  )
  expected = -0.125 - 0.6931472 - 2 * 0.9189385
  np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_log_prob_of_a_sample_is_that_it_came_with():
  distribution = distributions.TanhNormal(
    jnp.array([[0.3, -1.0]]), jnp.array([[0.5, 0.8]])
  )
  action, log_prob = distribution.sample_and_log_prob(jnp.array([[1.0, -0.5]]))
  np.testing.assert_allclose(distribution.log_prob(action), log_prob, rtol=1e-5)


def test_log_prob_at_the_bounds_pulls_the_mean_there():
  def log_prob(mean):
    return distributions.TanhNormal(mean, jnp.ones(2)).log_prob(
      jnp.array([1.0, -1.0])
    )

  value, gradient = jax.value_and_grad(log_prob)(jnp.zeros(2))
  assert np.isfinite(value)
  # atanh(0.999) = 3.8002012 standard deviations away.
  np.testing.assert_allclose(gradient, [3.8002012, -3.8002012], rtol=1e-3)


def test_log_density_of_the_squashed_normal_is_that_of_distrax():
  # It comes with rlax, which keeps TensorFlow away from it.
  lazy_rlax.l2_loss  # noqa: B018
  distrax = importlib.import_module('distrax')
  normal = lambda seed: jax.random.normal(jax.random.PRNGKey(seed), (5, 3))
  mean, std = normal(0), jnp.exp(0.3 * normal(2))
  action, log_prob = distributions.TanhNormal(mean, std).sample_and_log_prob(
    normal(1)
  )
  reference = distrax.Independent(
    distrax.Transformed(distrax.Normal(mean, std), distrax.Tanh()), 1
  )
  np.testing.assert_allclose(
    log_prob, reference.log_prob(action), rtol=1e-3, atol=1e-3
  )


@pytest.mark.parametrize('kind', ['Normal', 'TanhNormal'])
def test_noise_of_another_shape_is_refused(kind):
  distribution = getattr(distributions, kind)(
    jnp.zeros((4, 2)), jnp.ones((4, 2))
  )
  for noise in (jnp.zeros((1, 2)), jnp.zeros((4, 1)), jnp.zeros(2)):
    with pytest.raises(AssertionError):
      distribution.sample(noise)
