"""Tests of policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import specs
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


@pytest.mark.parametrize(
  'spec',
  [
    specs.Array((2,), np.float32),
    specs.BoundedArray((2,), np.float32, -2.0, 2.0),
    specs.BoundedArray((2,), np.float32, [-1.0, 0.0], 1.0),
    specs.BoundedArray((2,), np.int32, -1, 1),
    specs.BoundedArray((1, 2), np.float32, -1.0, 1.0),
    {'arm': specs.BoundedArray((2,), np.float32, -1.0, 1.0)},
  ],
)
def test_refuses_other_actions(spec):
  with pytest.raises(ValueError, match=r'\[-1, 1\], the action spec is'):
    policies.action_size(spec)


def test_an_action_has_as_many_numbers_as_its_spec():
  spec = specs.BoundedArray((4,), np.float32, -1.0, 1.0)
  assert policies.action_size(spec) == 4


@pytest.mark.parametrize(
  'embedding', [np.zeros((5, 4)), np.zeros(3), np.zeros((5, 3), int)]
)
def test_refuses_another_embedding(embedding):
  policy = policies.make_tanh_normal_policy(3, 2, (8,))
  params = policy.init(jax.random.PRNGKey(0))
  with pytest.raises(AssertionError):
    policy.apply(params, embedding)
