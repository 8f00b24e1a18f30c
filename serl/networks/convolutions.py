"""The small convolutional network in front of image agents."""

from collections.abc import Sequence

import chex
import haiku as hk
import jax
import jax.numpy as jnp

KERNEL = 3
STRIDE = 2


class SmallTrunk(hk.Module):
  """Convolutions of 3 x 3 with stride 2 and a ReLU behind each.

  The architecture of DrQ (Kostrikov et al. 2020, arXiv 2004.13649) as SERL has
  it.
  """

  def __init__(self, features: Sequence[int], name: str = 'trunk'):
    """Initialises the module.

    Args:
      features: the channels that each convolution puts out.
      name: the module's name.
    """
    super().__init__(name=name)
    self._features = tuple(features)

  def __call__(self, images: jax.Array) -> jax.Array:
    """Maps images [B, H, W, C] uint8 to features [B, h, w, features[-1]]."""
    chex.assert_rank(images, 4)
    chex.assert_type(images, jnp.uint8)
    hidden = images.astype(jnp.float32) / 255
    for i, channels in enumerate(self._features):
      hidden = _BiasedConv2D(
        channels,
        KERNEL,
        STRIDE,
        padding='VALID',
        with_bias=False,
        w_init=hk.initializers.VarianceScaling(1.0, 'fan_avg', 'uniform'),
        name=f'conv_{i}',
      )(hidden)
      hidden = jax.nn.relu(hidden)
    return hidden


class _BiasedConv2D(hk.Conv2D):
  """A convolution whose bias 'b' is added so that learning it is cheap."""

  def __call__(self, inputs: jax.Array) -> jax.Array:
    outputs = super().__call__(inputs)
    bias = hk.get_parameter('b', outputs.shape[-1:], init=jnp.zeros)
    return _add_bias(outputs, bias)


@jax.custom_vjp
def _add_bias(inputs: jax.Array, bias: jax.Array) -> jax.Array:
  """Returns inputs [..., C] + bias [C].

  The bias's gradient is a sum over all pixels, here a product with ones: on a
  CPU, XLA runs a product on all cores and a sum on one.
  """
  return inputs + bias


def _add_bias_forward(
  inputs: jax.Array, bias: jax.Array
) -> tuple[jax.Array, None]:
  return _add_bias(inputs, bias), None


def _add_bias_backward(
  _: None, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  rows = gradient.reshape(-1, gradient.shape[-1])
  ones = jnp.ones(rows.shape[0], rows.dtype)
  return gradient, jnp.dot(ones, rows, precision=jax.lax.Precision.HIGHEST)


_add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def smallest_image(layers: int) -> int:
  """Returns the least height and width that `layers` convolutions take."""
  size = 1
  for _ in range(layers):
    size = (size - 1) * STRIDE + KERNEL
  return size
