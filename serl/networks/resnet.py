"""ResNet-10 with group normalisation, the trunk that SERL pretrained.

He et al. 2015 (arXiv 1512.03385); Wu and He 2018 (arXiv 1803.08494).
"""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

# One block a stage.
STAGES = (64, 128, 256, 512)
GROUPS = 4
EPSILON = 1e-5

# Of ImageNet's RGB, the statistics that the published weights expect.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)

_W_INIT = hk.initializers.VarianceScaling(2.0, 'fan_in', 'truncated_normal')


def normalise(images: jax.Array) -> jax.Array:
  """Maps [..., 3] uint8 to floats with ImageNet's mean at 0 and std of 1."""
  chex.assert_type(images, jnp.uint8)
  chex.assert_axis_dimension(images, -1, 3)
  return (images.astype(jnp.float32) / 255 - _MEAN) / _STD


class ResNet10(hk.Module):
  """A first convolution and four residual blocks; a 32nd of the resolution."""

  def __init__(self, name: str = 'resnet10'):
    """Initialises the module."""
    super().__init__(name=name)

  def __call__(self, images: jax.Array) -> jax.Array:
    """Maps normalised images [B, H, W, C] to features [B, H/32, W/32, 512]."""
    chex.assert_rank(images, 4)
    hidden = _conv(STAGES[0], 7, 2, 'conv_init', padding=[(3, 3)] * 2)(images)
    hidden = jax.nn.relu(_group_norm('norm_init')(hidden))
    hidden = hk.max_pool(hidden, (3, 3, 1), (2, 2, 1), 'SAME')
    for i, channels in enumerate(STAGES):
      hidden = _Block(channels, 1 if i == 0 else 2, name=f'block_{i}')(hidden)
    return hidden


class _Block(hk.Module):
  """Two convolutions, added to their input or to its projection."""

  def __init__(self, channels: int, stride: int, name: str):
    super().__init__(name=name)
    self._channels = channels
    self._stride = stride

  def __call__(self, inputs: jax.Array) -> jax.Array:
    hidden = _conv(self._channels, 3, self._stride, 'conv_0')(inputs)
    hidden = jax.nn.relu(_group_norm('norm_0')(hidden))
    hidden = _conv(self._channels, 3, 1, 'conv_1')(hidden)
    hidden = _group_norm('norm_1')(hidden)
    if inputs.shape != hidden.shape:
      inputs = _conv(self._channels, 1, self._stride, 'conv_proj')(inputs)
      inputs = _group_norm('norm_proj')(inputs)
    return jax.nn.relu(inputs + hidden)


def _conv(
  channels: int, kernel: int, stride: int, name: str, padding='SAME'
) -> hk.Conv2D:
  return hk.Conv2D(
    channels,
    kernel,
    stride,
    padding=padding,
    with_bias=False,
    w_init=_W_INIT,
    name=name,
  )


def _group_norm(name: str) -> hk.GroupNorm:
  return hk.GroupNorm(GROUPS, eps=EPSILON, name=name)
