"""Tests of soft_actor_critic with numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.ops import soft_actor_critic as ops

both_ways = pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])


@both_ways
def test_soft_target(wrap):
  # Leasts are 1, 3 and 4; the last step terminated.
  target = wrap(ops.soft_target)(
    jnp.array([1.0, 2.0, 3.0]),
    jnp.array([0.9, 0.5, 0.0]),
    jnp.array([[2.0, 3.0, 4.0], [1.0, 5.0, 6.0]]),
  )
  np.testing.assert_allclose(target, [1.9, 3.5, 3.0], rtol=1e-6)


@both_ways
def test_soft_target_with_entropy(wrap):
  # 1 + 0.5 * (2 + 0.1 * 3): the bonus is discounted with the value.
  target = wrap(ops.soft_target)(
    jnp.array([1.0]),
    jnp.array([0.5]),
    jnp.array([[2.0]]),
    jnp.array([0.3]),
  )
  np.testing.assert_allclose(target, [2.15], rtol=1e-6)


def test_soft_target_has_no_gradient():
  def total(values):
    return jnp.sum(ops.soft_target(jnp.ones(2), jnp.ones(2), values))

  np.testing.assert_array_equal(jax.grad(total)(jnp.ones((3, 2))), 0)


@both_ways
def test_ensemble_loss(wrap):
  # Errors 1, 0, 3, -2 have squares 1, 0, 9, 4.
  loss = wrap(ops.ensemble_loss)(
    jnp.array([[2.0, 2.0], [4.0, 0.0]]), jnp.array([1.0, 2.0])
  )
  np.testing.assert_allclose(loss, 3.5, rtol=1e-6)


@both_ways
def test_policy_loss(wrap):
  # (0.5 * -2 - 3 + 0.5 * 4 - 1) / 2
  loss = wrap(ops.policy_loss)(
    jnp.array([3.0, 1.0]), jnp.array([-2.0, 4.0]), jnp.array(0.5)
  )
  np.testing.assert_allclose(loss, -1.5, rtol=1e-6)


@both_ways
@pytest.mark.parametrize('entropy, gradient', [(-3.0, -1.0), (-1.0, 1.0)])
def test_temperature_loss_pulls_towards_the_target(wrap, entropy, gradient):
  function = jax.value_and_grad(
    lambda t: ops.temperature_loss(t, jnp.array(entropy), -2.0)
  )
  loss, slope = wrap(function)(jnp.array(0.5))
  np.testing.assert_allclose(loss, 0.5 * gradient, rtol=1e-6)
  np.testing.assert_allclose(slope, gradient, rtol=1e-6)


@both_ways
@pytest.mark.parametrize('value', [1e-8, 1e-2, 1.0, 300.0])
def test_inverse_softplus(wrap, value):
  raw = wrap(lambda: ops.inverse_softplus(value))()
  np.testing.assert_allclose(jax.nn.softplus(raw), value, rtol=1e-5)


def test_refuses_other_ranks():
  with pytest.raises(AssertionError):
    ops.soft_target(jnp.ones(2), jnp.ones(2), jnp.ones(2))
  with pytest.raises(AssertionError):
    ops.ensemble_loss(jnp.ones((3, 2)), jnp.ones(3))
  with pytest.raises(AssertionError):
    ops.policy_loss(jnp.ones(3), jnp.ones(2), 1.0)
