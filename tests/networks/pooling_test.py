"""Tests of pooling: each kind on numbers worked out by hand."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import pooling

# One map of 2 x 2 with two channels.
MAP = jnp.array([[[[1.0, 8.0], [2.0, 6.0]], [[3.0, 4.0], [6.0, -2.0]]]])


def test_average_and_maximum():
  np.testing.assert_allclose(pooling.average(MAP), [[3.0, 4.0]])
  np.testing.assert_allclose(pooling.maximum(MAP), [[6.0, 8.0]])


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_spatial_softmax_tells_column_and_row(wrap):
  # Weights of the first channel: 1/6, 1/3 over 1/6, 1/3. Its mean column is
  # -1 * 1/3 + 1 * 2/3, its mean row 0. The second is all in the lower left.
  first = jnp.log(jnp.array([[1.0, 2.0], [1.0, 2.0]]))
  second = jnp.array([[0.0, 0.0], [100.0, 0.0]])
  features = jnp.stack([first, second], axis=-1)[None]
  np.testing.assert_allclose(
    wrap(pooling.spatial_softmax)(features), [[1 / 3, -1, 0, 1]], atol=1e-6
  )


def test_spatial_softmax_of_a_wide_map():
  features = jnp.full((1, 2, 5, 1), -100.0).at[0, 1, 3, 0].set(0.0)
  np.testing.assert_allclose(
    pooling.spatial_softmax(features), [[0.5, 1.0]], atol=1e-6
  )


def test_spatial_embeddings_sum_each_channel_under_its_weights():
  network = hk.without_apply_rng(
    hk.transform(lambda x: pooling.SpatialEmbeddings(2)(x))
  )
  # w[row, column, channel, embedding]: the first embedding counts the upper
  # left, the second all; of the second channel twice.
  w = np.zeros((2, 2, 2, 2), np.float32)
  w[0, 0, :, 0] = [1, 2]
  w[..., 1] = [1, 2]
  outputs = network.apply({'spatial_embeddings': {'w': w}}, MAP)
  np.testing.assert_allclose(outputs, [[1.0, 12.0, 16.0, 32.0]])


@pytest.mark.parametrize(
  'kind, size',
  [
    ('average', 2),
    ('max', 2),
    ('spatial_softmax', 4),
    ('spatial_embeddings', 6),
  ],
)
def test_every_kind_by_its_name(kind, size):
  assert kind in pooling.KINDS
  network = hk.without_apply_rng(
    hk.transform(lambda x: pooling.pool(x, kind, 3))
  )
  params = network.init(jax.random.PRNGKey(0), MAP)
  assert network.apply(params, jnp.tile(MAP, (5, 1, 1, 1))).shape == (5, size)


def test_a_batch_without_its_axis_is_refused():
  for pool in (pooling.average, pooling.maximum, pooling.spatial_softmax):
    with pytest.raises(AssertionError):
      pool(MAP[0])
