"""Tests of augmentation."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.ops import augmentation


@pytest.fixture
def images():
  return np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)


@pytest.mark.parametrize(
  'crop',
  [
    augmentation.random_crop,
    jax.jit(augmentation.random_crop, static_argnums=2),
  ],
)
def test_a_crop_worked_by_hand(crop):
  # Padded by 1:  1 1 2 2 / 1 1 2 2 / 3 3 4 4 / 3 3 4 4.
  image = np.array([[1, 2], [3, 4]], np.uint8).reshape(1, 2, 2, 1)
  for offset, expected in (
    ((1, 1), [[1, 2], [3, 4]]),
    ((0, 0), [[1, 1], [1, 1]]),
    ((2, 1), [[3, 4], [3, 4]]),
    ((1, 2), [[2, 2], [4, 4]]),
  ):
    cropped = crop(image, jnp.array([offset]), 1)
    assert cropped.dtype == np.uint8
    np.testing.assert_array_equal(cropped[0, ..., 0], expected)


def test_images_are_cropped_apart_and_frames_alike(images):
  offsets = jnp.array([[4, 4], [3, 4], [4, 6]])
  cropped = augmentation.random_crop(images, offsets)
  np.testing.assert_array_equal(cropped[0], images[0])
  np.testing.assert_array_equal(cropped[1, 1:], images[1, :-1])
  np.testing.assert_array_equal(cropped[2, :, :-2], images[2, :, 2:])
  stacked = np.stack([images, images[::-1]], axis=1)  # [B, 2, H, W, C]
  frames = augmentation.random_crop(stacked, offsets)
  np.testing.assert_array_equal(frames[:, 0], cropped)
  np.testing.assert_array_equal(
    frames[:, 1], augmentation.random_crop(images[::-1], offsets)
  )


def test_offsets_reach_all_that_the_padding_allows():
  offsets = augmentation.draw_crop_offsets(jax.random.PRNGKey(0), 500, 2)
  assert offsets.shape == (500, 2)
  assert offsets.dtype == jnp.int32
  for axis in (0, 1):
    assert set(np.unique(offsets[:, axis])) == set(range(5))
  assert (offsets[:, 0] != offsets[:, 1]).any()


def test_offsets_of_another_batch_are_refused(images):
  with pytest.raises(AssertionError):
    augmentation.random_crop(images, jnp.zeros((2, 2), jnp.int32))
  with pytest.raises(AssertionError):
    augmentation.random_crop(images, jnp.zeros((3, 2)))


def _jitter(images, **spreads):
  none = {'brightness': 0, 'contrast': 0, 'saturation': 0, 'hue': 0}
  return augmentation.color_jitter(
    jax.random.PRNGKey(1), images, **(none | spreads)
  )


def test_images_without_three_colours_are_refused():
  with pytest.raises(ValueError, match='have 1 channels, expected red, green'):
    _jitter(np.zeros((2, 4, 4, 1), np.uint8))


def test_no_spread_leaves_images_as_they_are(images):
  np.testing.assert_array_equal(_jitter(images), images)


def test_brightness_multiplies():
  images = np.full((50, 2, 2, 3), [40, 80, 120], np.uint8)
  changed = np.asarray(_jitter(images, brightness=0.5))
  factors = changed[:, 0, 0, 2] / 120
  assert 0.5 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.5
  np.testing.assert_allclose(
    changed, images * factors[:, None, None, None], 0.03
  )


def test_contrast_stretches_about_the_mean():
  images = np.tile(np.array([50, 150], np.uint8)[:, None, None], (20, 1, 1, 3))
  images = images.reshape(20, 2, 1, 3)
  changed = np.asarray(_jitter(images, contrast=0.5), float)
  np.testing.assert_allclose(changed.mean((1, 2, 3)), 100, atol=0.6)
  widths = changed[:, 1, 0, 0] - changed[:, 0, 0, 0]
  assert 50 <= widths.min() < 80 and 120 < widths.max() <= 150


def test_saturation_and_hue_leave_greys(images):
  grey = np.tile(images[..., :1], 3)
  np.testing.assert_array_equal(_jitter(grey, saturation=0.9, hue=0.5), grey)


def test_saturation_keeps_the_brightness():
  images = np.full((20, 1, 1, 3), [150, 100, 80], np.uint8)
  changed = np.asarray(_jitter(images, saturation=0.9), float).reshape(20, 3)
  luma = np.array([0.299, 0.587, 0.114])
  np.testing.assert_allclose(changed @ luma, images[0, 0, 0] @ luma, atol=1)
  spans = np.ptp(changed, axis=1)
  assert spans.min() < 20 and spans.max() > 110


def test_hue_turns_the_color_wheel():
  images = np.full((40, 1, 1, 3), [150, 100, 100], np.uint8)
  changed = np.asarray(_jitter(images, hue=0.25)).reshape(40, 3)
  hues = np.array([colorsys.rgb_to_hsv(*(c / 255))[0] for c in changed])
  turns = (hues + 0.5) % 1 - 0.5  # from red
  assert -0.26 < turns.min() < -0.15 and 0.15 < turns.max() < 0.26
  np.testing.assert_allclose(changed.astype(float).sum(1), 350, atol=2)


def test_colors_stay_in_range_and_images_change_apart(images):
  changed = np.asarray(
    augmentation.color_jitter(
      jax.random.PRNGKey(0), np.tile(images[:1], (3, 1, 1, 1))
    )
  )
  assert changed.dtype == np.uint8
  assert (changed[0] != changed[1]).any()
  bright = _jitter(np.full((9, 1, 1, 3), 255, np.uint8), brightness=0.9)
  assert bright.max() == 255  # and none has come round to black
  assert (np.asarray(bright) >= 0.1 * 255 - 1).all()


def test_floats_are_refused(images):
  with pytest.raises(AssertionError):
    _jitter(images / 255)
