"""Our formulas against those of rlax and distrax, where they have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import distributions
from serl.ops import q_learning
from serl.ops import soft_actor_critic as ops

distrax = pytest.importorskip('distrax', reason='it comes with [dev]')
rlax = pytest.importorskip('rlax', reason='it comes with [dev]')


def _normal(seed, *shape):
  return jax.random.normal(jax.random.PRNGKey(seed), shape)


def test_target_is_that_of_temporal_difference_learning():
  values_tm1, r_t, values_t = _normal(0, 6), _normal(1, 6), _normal(2, 3, 6)
  discount_t = jnp.array([0.9, 0.9, 0.0, 0.5, 1.0, 0.0])
  errors = jax.vmap(rlax.td_learning)(
    values_tm1, r_t, discount_t, values_t.min(axis=0)
  )
  target = ops.soft_target(r_t, discount_t, values_t)
  np.testing.assert_allclose(target - values_tm1, errors, rtol=1e-5)


def test_target_is_that_of_double_q_learning():
  values_tm1, r_t = _normal(0, 6, 3), _normal(1, 6)
  values_t, selector_values_t = _normal(2, 6, 3), _normal(3, 6, 3)
  chosen = jnp.array([0, 1, 2, 0, 1, 2])
  discount_t = jnp.array([0.9, 0.9, 0.0, 0.5, 1.0, 0.0])
  errors = jax.vmap(rlax.double_q_learning)(
    values_tm1, chosen, r_t, discount_t, values_t, selector_values_t
  )
  target = q_learning.double_q_target(
    r_t, discount_t, values_t, selector_values_t
  )
  np.testing.assert_allclose(
    target - q_learning.take(values_tm1, chosen), errors, rtol=1e-5, atol=1e-6
  )


def test_ensemble_loss_is_twice_the_mean_l2_loss():
  values, target = _normal(0, 4, 6), _normal(1, 6)
  np.testing.assert_allclose(
    ops.ensemble_loss(values, target),
    2 * rlax.l2_loss(values, target).mean(),
    rtol=1e-5,
  )


def test_log_density_of_the_squashed_normal():
  mean, noise = _normal(0, 5, 3), _normal(1, 5, 3)
  std = jnp.exp(0.3 * _normal(2, 5, 3))
  action, log_prob = distributions.TanhNormal(mean, std).sample_and_log_prob(
    noise
  )
  reference = distrax.Independent(
    distrax.Transformed(distrax.Normal(mean, std), distrax.Tanh()), 1
  )
  np.testing.assert_allclose(
    log_prob, reference.log_prob(action), rtol=1e-3, atol=1e-3
  )
