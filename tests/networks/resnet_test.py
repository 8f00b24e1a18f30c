"""Tests of resnet; the reference's numbers are in golden_encoders_test."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import resnet

_network = hk.without_apply_rng(hk.transform(lambda x: resnet.ResNet10()(x)))


def _zeros(images):
  shapes = jax.eval_shape(_network.init, jax.random.PRNGKey(0), images)
  return jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)


@jax.jit
def _outputs(params, images):
  """Returns what every module puts out, by its name."""
  outputs = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if context.method_name == '__call__':
      outputs[context.module.module_name] = result
    return result

  with hk.intercept_methods(record):
    _network.apply(params, images)
  return outputs


def test_normalisation_worked_by_hand():
  pixels = np.array([[0, 255, 51]], np.uint8)
  expected = [-0.485 / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
  np.testing.assert_allclose(resnet.normalise(pixels), [expected], rtol=1e-6)


@pytest.mark.parametrize(
  'images', [np.zeros((2, 3), np.float32), np.zeros((2, 1), np.uint8)]
)
def test_what_is_not_rgb_of_bytes_is_refused(images):
  with pytest.raises(AssertionError):
    resnet.normalise(images)


def test_blocks_add_their_input_or_its_projection():
  images = jnp.ones((1, 64, 64, 3))
  params = _zeros(images)
  # With all weights 0, a norm puts out its offset.
  for name, offset in {
    'norm_init': 1.0,
    'block_0/norm_1': 10.0,  # relu(1 + 10), no projection
    'block_1/norm_proj': 2.0,
    'block_1/norm_1': 3.0,
    'block_3/norm_proj': 4.0,
    'block_3/norm_1': -1.0,
    'block_3/norm_0': 100.0,  # what the convolution behind it takes as 0
  }.items():
    params[f'resnet10/{name}']['offset'] += offset
  outputs = _outputs(params, images)
  for block, value, size in ((0, 11.0, 16), (1, 5.0, 8), (2, 0.0, 4)):
    output = outputs[f'resnet10/block_{block}']
    assert output.shape == (1, size, size, resnet.STAGES[block])
    np.testing.assert_allclose(output, value)
  features = outputs['resnet10']
  assert features.shape == (1, 2, 2, 512)
  np.testing.assert_allclose(features, 3.0)


def test_norms_are_of_groups_of_channels():
  # Four groups of 16 channels: of what the first convolution puts out, each
  # group has mean 0 and deviation 1.
  random = np.random.default_rng(0)
  images = jnp.asarray(random.normal(size=(1, 64, 64, 3)), jnp.float32)
  params = _zeros(images)
  kernel = params['resnet10/conv_init']['w']
  params['resnet10/conv_init']['w'] += random.normal(size=kernel.shape)
  params['resnet10/norm_init']['scale'] += 1
  groups = _outputs(params, images)['resnet10/norm_init'].reshape(-1, 4, 16)
  np.testing.assert_allclose(groups.mean((0, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(groups.std((0, 2)), 1, rtol=1e-3)
  assert np.ptp(groups.std(0)) > 0.1  # which a channel alone need not have
