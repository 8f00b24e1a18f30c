"""Averages over some rows of a batch."""

import chex
import jax
import jax.numpy as jnp


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  """Returns the mean [] of the values in a mask, 0 if it has none.

  Args:
    values: [B].
    mask: [B] bool.
  """
  chex.assert_rank([values, mask], 1)
  chex.assert_equal_shape([values, mask])
  chex.assert_type(mask, bool)
  count = jnp.maximum(jnp.sum(mask), 1)
  return jnp.sum(jnp.where(mask, values, 0.0)) / count
