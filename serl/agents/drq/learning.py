"""DrQ's learning rule: augment the images, then do SAC's round."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.drq import config as drq_config
from serl.agents.sac import learning as sac_learning
from serl.agents.sac import networks as sac_networks
from serl.ops import augmentation


class CropOffsets(NamedTuple):
  """Where the images of a batch of N transitions are cropped, by camera."""

  observation: dict[str, jax.Array]  # [N, 2] row and column, int32
  next_observation: dict[str, jax.Array]  # [N, 2]


def make_algorithm(
  networks: sac_networks.SACNetworks, config: drq_config.DrQConfig
) -> builder.Algorithm:
  """Makes DrQ's init and update; Kostrikov et al. 2020 (arXiv 2004.13649)."""
  sac = sac_learning.make_algorithm(networks, config.sac, unrolls())

  def update(
    state: sac_learning.TrainingState, batch: types.Transition
  ) -> tuple[sac_learning.TrainingState, types.Metrics]:
    key, augmentation_key = jax.random.split(state.key)
    batch = augment(
      augmentation_key, batch, config.crop_padding, config.color_jitter
    )
    return sac.update(state._replace(key=key), batch)

  return builder.Algorithm(sac.init, update)


def unrolls() -> bool:
  """Returns whether a round's updates are unrolled on this device.

  XLA's convolutions on a CPU are many times slower inside a loop; on an
  accelerator the loop compiles faster and runs as fast.
  """
  return jax.default_backend() == 'cpu'


def augment(
  key: types.PRNGKey,
  batch: types.Transition,
  crop_padding: int,
  color_jitter: bool = False,
) -> types.Transition:
  """Returns a batch [updates, rows, ...] with its images changed at random.

  Every image of every camera is changed in another way; the frames of a stack
  in the same. An image's bytes stay bytes.

  Args:
    key: a random key.
    batch: with images as uint8.
    crop_padding: pixels that images are shifted by at most, 0 for none.
    color_jitter: whether colours are changed, too.
  """
  crop_key, jitter_key = jax.random.split(key)
  if crop_padding:
    offsets = draw_crop_offsets(crop_key, batch, crop_padding)
    batch = crop(batch, offsets, crop_padding)
  if color_jitter:
    keys = dict(zip(('observation', 'next_observation'), _split(jitter_key, 2)))
    changed = {
      field: _jitter(field_key, getattr(batch, field))
      for field, field_key in keys.items()
    }
    batch = batch._replace(**changed)
  return batch


def draw_crop_offsets(
  key: types.PRNGKey, batch: types.Transition, padding: int
) -> CropOffsets:
  """Draws where to crop each image of a batch [updates, rows, ...]."""

  def draw(key: types.PRNGKey, observation: types.NestedArray):
    images = _images(observation)
    return {
      path: augmentation.draw_crop_offsets(
        path_key, image.shape[0] * image.shape[1], padding
      )
      for (path, image), path_key in zip(
        images.items(), _split(key, len(images))
      )
    }

  observation_key, next_observation_key = jax.random.split(key)
  return CropOffsets(
    draw(observation_key, batch.observation),
    draw(next_observation_key, batch.next_observation),
  )


def crop(
  batch: types.Transition, offsets: CropOffsets, padding: int
) -> types.Transition:
  """Returns a batch [updates, rows, ...] with its images shifted.

  Args:
    batch: with images as uint8.
    offsets: of updates * rows transitions.
    padding: pixels that the offsets were drawn for.
  """

  def crop_with(offsets: dict[str, jax.Array]):
    return lambda path, images: augmentation.random_crop(
      images, offsets[path], padding
    )

  return batch._replace(
    observation=_map_images(crop_with(offsets.observation), batch.observation),
    next_observation=_map_images(
      crop_with(offsets.next_observation), batch.next_observation
    ),
  )


def _jitter(
  key: types.PRNGKey, observation: types.NestedArray
) -> types.NestedArray:
  paths = list(_images(observation))
  keys = dict(zip(paths, _split(key, len(paths))))
  return _map_images(
    lambda path, images: augmentation.color_jitter(keys[path], images),
    observation,
  )


def _images(observation: types.NestedArray) -> dict[str, jax.Array]:
  leaves = specs.flatten(observation)
  return {path: x for path, x in leaves.items() if _is_image(x)}


def _is_image(leaf: jax.Array) -> bool:
  # Bytes [updates, rows, H, W, C] or [updates, rows, frames, H, W, C].
  return leaf.dtype == jnp.uint8 and leaf.ndim in (5, 6)


def _map_images(
  function: Callable[[str, jax.Array], jax.Array],
  observation: types.NestedArray,
) -> types.NestedArray:
  """Applies (path, images [N, ...]) -> images to the images of a batch."""

  def apply(path, leaf):
    if not _is_image(leaf):
      return leaf
    flat = leaf.reshape(-1, *leaf.shape[2:])
    return function(path, flat).reshape(leaf.shape)

  leaves, structure = jax.tree.flatten(observation)
  # In the same order: JAX sorts a dict's keys, too.
  paths = specs.flatten(observation)
  return structure.unflatten(map(apply, paths, leaves))


def _split(key: types.PRNGKey, number: int) -> list[types.PRNGKey]:
  return list(jax.random.split(key, number))
