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
      hidden = hk.Conv2D(
        channels,
        KERNEL,
        STRIDE,
        padding='VALID',
        w_init=hk.initializers.VarianceScaling(1.0, 'fan_avg', 'uniform'),
        name=f'conv_{i}',
      )(hidden)
      hidden = jax.nn.relu(hidden)
    return hidden


def smallest_image(layers: int) -> int:
  """Returns the least height and width that `layers` convolutions take."""
  size = 1
  for _ in range(layers):
    size = (size - 1) * STRIDE + KERNEL
  return size
