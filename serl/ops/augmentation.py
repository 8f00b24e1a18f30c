"""Random changes of images that leave what they show as it is."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from serl import types

# Of red, green and blue in the brightness that is seen (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def draw_crop_offsets(
  key: types.PRNGKey, batch_size: int, padding: int = 4
) -> jax.Array:
  """Draws where `random_crop` cuts: [B, 2] row and column, int32."""
  return jax.random.randint(key, (batch_size, 2), 0, 2 * padding + 1)


def random_crop(
  images: jax.Array, offsets: jax.Array, padding: int = 4
) -> jax.Array:
  """Pads images by repeating their edges and crops them to their size.

  DrQ, Kostrikov et al. 2020 (arXiv 2004.13649), section 3.1.

  Args:
    images: [B, ..., H, W, C]; the axes between, such as frames of a stack, are
      cropped alike.
    offsets: [B, 2] int32 in [0, 2 * padding], the row and the column of the
      padded image where the crop starts; `padding` leaves it where it was.
    padding: pixels on each side.

  Returns:
    The crops, of the shape and dtype of `images`.
  """
  chex.assert_rank(images, set(range(4, 7)))
  chex.assert_shape(offsets, (images.shape[0], 2))
  chex.assert_type(offsets, int)
  frames = images.ndim - 4
  pad = [(0, 0)] * frames + [(padding, padding)] * 2 + [(0, 0)]

  def crop(image: jax.Array, offset: jax.Array) -> jax.Array:
    padded = jnp.pad(image, pad, mode='edge')
    start = (*[0] * frames, offset[0], offset[1], 0)
    return jax.lax.dynamic_slice(padded, start, image.shape)

  return jax.vmap(crop)(images, offsets)


def color_jitter(
  key: types.PRNGKey,
  images: jax.Array,
  brightness: float = 0.2,
  contrast: float = 0.1,
  saturation: float = 0.1,
  hue: float = 0.03,
) -> jax.Array:
  """Changes images' brightness, contrast, saturation and hue at random.

  All four are affine maps of a pixel's colour and are applied as one, so that
  nothing is clipped in between. Hue turns about the axis of greys.

  Args:
    key: a random key.
    images: [B, ..., H, W, 3] uint8; all of an entry of B is changed alike.
    brightness: factors are drawn from [1 - brightness, 1 + brightness].
    contrast: likewise, about the image's mean brightness.
    saturation: likewise, about each pixel's grey.
    hue: turns are drawn from [-hue, hue], in revolutions.

  Returns:
    [B, ..., H, W, 3] uint8.

  Raises:
    ValueError: if the images have no three colours.
  """
  chex.assert_type(images, jnp.uint8)
  if images.shape[-1] != 3:
    raise ValueError(
      f'Images of shape {images.shape} have {images.shape[-1]} channels, '
      'expected red, green and blue in the last axis: leave color_jitter off.'
    )
  spread = jnp.array([brightness, contrast, saturation, hue])
  draws = jax.random.uniform(key, (images.shape[0], 4), minval=-1, maxval=1)
  return jax.vmap(_change_colors)(images, draws * spread)


def _change_colors(image: jax.Array, change: jax.Array) -> jax.Array:
  """Changes the colours of one image [..., 3] by amounts [4], 0 for none."""
  brightness, contrast, saturation, _ = 1 + change
  colors = image.astype(jnp.float32)
  grey = jnp.broadcast_to(_LUMA, (3, 3))
  saturate = saturation * jnp.eye(3) + (1 - saturation) * grey
  turn = _rotation_about_grey(2 * jnp.pi * change[3])
  mean = jnp.mean(colors @ _LUMA)
  colors = colors @ (contrast * turn @ saturate).T + (1 - contrast) * mean
  return jnp.clip(jnp.round(brightness * colors), 0, 255).astype(jnp.uint8)


def _rotation_about_grey(angle: jax.Array) -> jax.Array:
  """Returns the 3 x 3 rotation of RGB about (1, 1, 1), by Rodrigues."""
  cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / 3**0.5
  return (
    jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * (cross @ cross)
  )
