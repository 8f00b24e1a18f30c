"""Tests of convolutions."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import convolutions


def _network(*features):
  return hk.without_apply_rng(
    hk.transform(lambda x: convolutions.SmallTrunk(features)(x))
  )


def test_two_layers_worked_by_hand():
  # Of 7 x 7 pixels the first layer sums 3 x 3 windows that start at 0, 2 and
  # 4; the second does of those 3 x 3. The pixel in the corner is in one window
  # and the one at (2, 2) in four.
  image = np.zeros((1, 7, 7, 1), np.uint8)
  image[0, 0, 0, 0], image[0, 2, 2, 0] = 51, 102
  ones = np.ones((3, 3, 1, 1), np.float32)
  params = {
    'trunk/conv_0': {'w': ones, 'b': np.array([0.25], np.float32)},
    'trunk/conv_1': {'w': ones, 'b': np.array([-2.0], np.float32)},
  }
  output = _network(1, 1).apply(params, image)
  # 9 * 0.25 - 2 and the pixels as 0.2 + 4 * 0.4.
  np.testing.assert_allclose(output, [[[[0.25 + 1.8]]]], rtol=1e-6)
  dark = _network(1, 1).apply(
    jax.tree.map(lambda x: -x, params), np.zeros_like(image)
  )
  # relu(-0.25) is 0, so that what remains is the second bias.
  np.testing.assert_allclose(dark, [[[[2.0]]]])


def test_gradients_are_those_of_its_formula():
  images = jax.random.randint(jax.random.PRNGKey(0), (3, 15, 15, 2), 0, 256)
  images = images.astype(jnp.uint8)
  network = _network(4, 5)
  params = network.init(jax.random.PRNGKey(1), images)
  params = jax.tree.map(lambda x: x + 0.05 * (x.ndim == 1), params)

  def by_formula(params):
    hidden = images / 255
    for layer in ('trunk/conv_0', 'trunk/conv_1'):
      hidden = jax.lax.conv_general_dilated(
        hidden,
        params[layer]['w'],
        (2, 2),
        'VALID',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
      hidden = jnp.maximum(hidden + params[layer]['b'], 0)
    return hidden

  def gradients(apply):
    return jax.grad(lambda p: jnp.sum(jnp.sin(apply(p))))(params)

  found = gradients(lambda p: network.apply(p, images))
  expected = gradients(by_formula)
  for layer, of in expected.items():
    assert np.abs(of['b']).max() > 1e-2
    for name, gradient in of.items():
      np.testing.assert_allclose(found[layer][name], gradient, rtol=1e-4)


@pytest.mark.parametrize('layers', [1, 2, 4])
def test_the_smallest_image_leaves_one_pixel(layers):
  size = convolutions.smallest_image(layers)
  network = _network(*[2] * layers)

  def shape(size):
    images = jnp.zeros((1, size, size, 3), jnp.uint8)
    params = jax.eval_shape(network.init, jax.random.PRNGKey(0), images)
    return jax.eval_shape(network.apply, params, images).shape

  assert shape(size) == (1, 1, 1, 2)
  assert 0 in shape(size - 1)


def test_floats_are_refused():
  images = jnp.zeros((1, 8, 8, 3))
  with pytest.raises(AssertionError):
    _network(2).init(jax.random.PRNGKey(0), images)
