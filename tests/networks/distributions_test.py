"""Tests of distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import distributions


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
