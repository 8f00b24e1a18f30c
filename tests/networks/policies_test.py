"""Tests of policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import policies


def _with_log_std(params, value):
  head = {'w': jnp.zeros_like(params['log_std']['w']), 'b': jnp.full(2, value)}
  return {**params, 'log_std': head}


@pytest.mark.parametrize(
  'log_std, std', [(0.0, 1.0), (1.0, np.e), (9.0, 5.0), (-99.0, 1e-5)]
)
def test_std_is_exp_clipped(log_std, std):
  policy = policies.make_tanh_normal_policy(3, 2, (8,))
  params = _with_log_std(policy.init(jax.random.PRNGKey(0)), log_std)
  distribution = policy.apply(params, jnp.ones((4, 3)))
  assert distribution.mean.shape == (4, 2)
  np.testing.assert_allclose(distribution.std, np.full((4, 2), std), rtol=1e-5)


def test_equal_bounds_fix_the_noise():
  policy = policies.make_tanh_normal_policy(3, 2, (8,), 0.2, 0.2)
  params = policy.init(jax.random.PRNGKey(0))
  distribution = policy.apply(params, jnp.ones((4, 3)))
  np.testing.assert_allclose(distribution.std, 0.2)
