"""Tests of averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.ops import averages


def test_only_the_rows_in_the_mask_count():
  values = jnp.array([1.0, 5.0, jnp.nan, 2.0])
  mask = jnp.array([True, True, False, False])
  mean, gradient = jax.value_and_grad(averages.masked_mean)(values, mask)
  np.testing.assert_allclose(mean, 3.0)
  np.testing.assert_allclose(gradient, [0.5, 0.5, 0.0, 0.0])


def test_an_empty_mask_gives_zero_and_no_gradient():
  values, mask = jnp.array([1.0, jnp.inf]), jnp.zeros(2, bool)
  mean, gradient = jax.value_and_grad(averages.masked_mean)(values, mask)
  assert mean == 0
  np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize('mask', [np.ones(3), np.ones((3, 1), bool)])
def test_refuses_what_is_no_mask_of_the_rows(mask):
  with pytest.raises(AssertionError):
    averages.masked_mean(jnp.ones(3), mask)
