"""The networks of the reward classifier and what classifies with them."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

import chex
import haiku as hk
import jax
import jax.numpy as jnp

from serl import specs
from serl import types
from serl.agents.classifier import config as classifier_config
from serl.networks import encoders
from serl.networks import feed_forward
from serl.networks import mlp


class ClassifierParams(NamedTuple):
  """What is trained."""

  encoder: types.Params
  head: types.Params


@dataclasses.dataclass(frozen=True)
class ClassifierNetworks:
  """Pure functions over explicit parameters."""

  # observation [B, ...] -> embedding [B, E]; looks at `image_spec` alone
  encoder: feed_forward.FeedForward
  # embedding [B, E], key of the dropout or None -> logits [B]
  head: feed_forward.FeedForward
  image_spec: Mapping[str, specs.Array]  # by path


def make_networks(
  observation_spec: types.NestedSpec,
  config: classifier_config.NetworkConfig,
) -> ClassifierNetworks:
  """Makes the networks.

  Args:
    observation_spec: of the environment or of a data set.
    config: which cameras, the encoder, the head.

  Raises:
    ValueError: there is no such camera.
  """
  image_spec = select_images(observation_spec, config.cameras)
  encoder = encoders.make_encoder(image_spec, config.encoder)
  return ClassifierNetworks(
    encoder=feed_forward.FeedForward(
      encoder.init,
      lambda params, observation: encoder.apply(
        params, take_images(observation, image_spec)
      ),
    ),
    head=_make_head(encoder.size, config),
    image_spec=image_spec,
  )


def init(networks: ClassifierNetworks, key: types.PRNGKey) -> ClassifierParams:
  """Returns the parameters to start from."""
  encoder_key, head_key = jax.random.split(key)
  return ClassifierParams(
    networks.encoder.init(encoder_key), networks.head.init(head_key)
  )


def classify(
  networks: ClassifierNetworks,
  params: ClassifierParams,
  observation: types.NestedArray,
  key: types.PRNGKey | None = None,
) -> jax.Array:
  """Returns the logits [B] of success.

  Args:
    networks: the classifier's.
    params: of it.
    observation: [B, ...]; what is not an image of the classifier is not read.
    key: of the dropout; None leaves nothing out, for use.
  """
  embedding = networks.encoder.apply(params.encoder, observation)
  return networks.head.apply(params.head, embedding, key)


def make_probability(
  networks: ClassifierNetworks, params: ClassifierParams
) -> Callable[[types.NestedArray], float]:
  """Makes the function of one observation, without batch axis, in [0, 1]."""

  @jax.jit
  def probability(params, images):
    batch = {path: image[None] for path, image in images.items()}
    return jax.nn.sigmoid(classify(networks, params, batch)[0])

  # Only what is looked at goes to the device.
  return lambda observation: float(
    probability(params, take_images(observation, networks.image_spec))
  )


def select_images(
  observation_spec: types.NestedSpec, cameras: tuple[str, ...] | None
) -> dict[str, specs.Array]:
  """Returns the specs of the cameras' images by path, sorted; None for all.

  Raises:
    ValueError: the observation has no such image, or none at all.
  """
  leaves = specs.flatten(observation_spec)
  images = {path: leaves[path] for path in encoders.image_paths(leaves)}
  missing = sorted(set(cameras or ()) - images.keys())
  if missing or not images:
    raise ValueError(
      f'There is no image {", ".join(missing) or "at all"} among the '
      f'observations {specs.to_dict(leaves)}, expected uint8 [height, width, '
      f'channels]. Name some of {sorted(images)} as cameras.'
    )
  return {p: images[p] for p in sorted(images if cameras is None else cameras)}


def take_images(
  observation: types.NestedArray, image_spec: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the images of `image_spec` of an observation [...], by path.

  Raises:
    ValueError: an image is missing.
  """
  leaves = specs.flatten(observation)
  missing = sorted(image_spec.keys() - leaves.keys())
  if missing:
    raise ValueError(
      f'The observation has no {", ".join(missing)}, only {sorted(leaves)}; '
      f'the classifier looks at {sorted(image_spec)}. Let the environment '
      'observe these cameras.'
    )
  return {path: leaves[path] for path in image_spec}


def _make_head(
  embedding_size: int, config: classifier_config.NetworkConfig
) -> feed_forward.FeedForward:
  def forward(embedding: jax.Array, key: types.PRNGKey | None) -> jax.Array:
    chex.assert_shape(embedding, (None, embedding_size))
    chex.assert_type(embedding, float)
    hidden = mlp.Linear(config.hidden_size, name='hidden')(embedding)
    if key is not None:
      hidden = hk.dropout(key, config.dropout_rate, hidden)
    hidden = jax.nn.relu(mlp.LayerNorm(name='layer_norm')(hidden))
    return mlp.Linear(1, name='logit')(hidden)[..., 0]

  network = hk.without_apply_rng(hk.transform(forward))
  example = jnp.zeros((1, embedding_size))
  return feed_forward.FeedForward(
    init=lambda key: network.init(key, example, None), apply=network.apply
  )
