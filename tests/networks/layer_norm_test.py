"""Tests of layer_norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import layer_norm


def _textbook(inputs, scale, offset):
  mean = jnp.mean(inputs, axis=-1, keepdims=True)
  variance = jnp.var(inputs, axis=-1, keepdims=True)
  normalised = (inputs - mean) / jnp.sqrt(variance + layer_norm.EPSILON)
  return normalised * scale[..., None, :] + offset[..., None, :]


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_worked_by_hand(wrap):
  # Mean 2 and variance 4: (0 - 2) / 2 = -1 and (4 - 2) / 2 = 1.
  inputs = jnp.array([[0.0, 4.0]])
  scale, offset = jnp.array([3.0, 5.0]), jnp.array([0.5, -0.5])
  outputs = wrap(layer_norm.layer_norm)(inputs, scale, offset)
  np.testing.assert_allclose(outputs, [[-2.5, 4.5]], rtol=1e-5)


@pytest.mark.parametrize('lead', [(), (3,)])
def test_gradient_is_that_of_the_textbook_formula(lead):
  keys = jax.random.split(jax.random.PRNGKey(0), 4)
  inputs = jax.random.normal(keys[0], (*lead, 5, 7)) * 3 + 1
  scale = jax.random.normal(keys[1], (*lead, 7))
  offset = jax.random.normal(keys[2], (*lead, 7))
  weights = jax.random.normal(keys[3], inputs.shape)

  def gradients(function):
    def loss(*arguments):
      return jnp.sum(weights * jnp.sin(function(*arguments)))

    return jax.jit(jax.grad(loss, (0, 1, 2)))(inputs, scale, offset)

  for ours, theirs in zip(
    gradients(layer_norm.layer_norm), gradients(_textbook)
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_refuses_parameters_of_another_width():
  with pytest.raises(AssertionError):
    layer_norm.layer_norm(jnp.ones((2, 3)), jnp.ones(1), jnp.ones(1))
