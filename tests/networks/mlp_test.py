"""Tests of mlp."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import mlp


def _transform(members=None):
  return hk.without_apply_rng(
    hk.transform(lambda x: mlp.MLP((8, 6), members)(x))
  )


def test_one_layer_worked_by_hand():
  # [1, 2] @ [[1, 3], [0, 1]] + [0, 1] = [1, 6]: mean 3.5, deviation 2.5, so
  # LayerNorm gives [-1, 1], times [2, 1] plus [0, 1] is [-2, 2].
  network = hk.without_apply_rng(hk.transform(lambda x: mlp.MLP((2,))(x)))
  params = {
    'mlp/linear_0': {
      'w': jnp.array([[1.0, 3.0], [0.0, 1.0]]),
      'b': jnp.array([0.0, 1.0]),
    },
    'mlp/layer_norm_0': {
      'scale': jnp.array([2.0, 1.0]),
      'offset': jnp.array([0.0, 1.0]),
    },
  }
  outputs = network.apply(params, jnp.array([[1.0, 2.0]]))
  np.testing.assert_allclose(outputs, np.tanh([[-2.0, 2.0]]), rtol=1e-5)


@pytest.mark.parametrize('shared', [True, False])
def test_ensemble_equals_a_loop_over_its_members(shared):
  inputs = jax.random.normal(jax.random.PRNGKey(0), (3, 5, 4))
  given = inputs[0] if shared else inputs
  params = _transform(3).init(jax.random.PRNGKey(1), given)
  together = _transform(3).apply(params, given)
  for i in range(3):
    member = jax.tree.map(lambda x, i=i: x[i], params)
    alone = _transform().apply(member, inputs[0] if shared else inputs[i])
    np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)


def test_members_start_apart_and_within_the_limit_of_their_own_fans():
  params = _transform(3).init(jax.random.PRNGKey(0), jnp.zeros((1, 4)))
  w = params['mlp/linear_0']['w']
  assert w.shape == (3, 4, 8)
  assert not np.allclose(w[0], w[1])
  limit = np.sqrt(6 / (4 + 8))
  assert 0.8 * limit < np.abs(w).max() <= limit


@pytest.mark.parametrize(
  'activation, expected', [('relu', [2.0, 0.0]), ('tanh', np.tanh([2.0, -2.0]))]
)
def test_layers_without_layer_norm(activation, expected):
  layers = lambda x: mlp.MLP((2,), None, activation, layer_norm=False)(x)
  network = hk.without_apply_rng(hk.transform(layers))
  params = network.init(jax.random.PRNGKey(0), jnp.ones((1, 1)))
  assert params.keys() == {'mlp/linear_0'}
  params['mlp/linear_0']['w'] = jnp.array([[1.0, -1.0]])
  outputs = network.apply(params, jnp.array([[2.0]]))
  np.testing.assert_allclose(outputs[0], expected, rtol=1e-6)
