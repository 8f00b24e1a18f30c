"""Encoders: from cameras' images and proprioception to one vector."""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import re
import typing
from typing import Annotated, Any, Literal, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from serl import configs
from serl import specs
from serl import types
from serl.networks import convolutions
from serl.networks import mlp
from serl.networks import observations
from serl.networks import pooling
from serl.networks import pretrained
from serl.networks import resnet

Kind = Literal['small', 'resnet10', 'frozen_resnet10']
KINDS = typing.get_args(Kind)
_Pooling = pooling.Kind  # the field has the module's name
_Widths = Annotated[tuple[configs.Size, ...], configs.length(1, 100)]


class Encoder(NamedTuple):
  """A network that embeds observations."""

  # Parameters to train, {} where there are none.
  init: Callable[[types.PRNGKey], types.Params]
  # (params, observation [B, ...]) -> embedding [B, size]
  apply: Callable[[types.Params, types.NestedArray], jax.Array]
  size: int


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """An encoder of images, SERL's by default."""

  # 'small': convolutions, trained with the agent. 'resnet10': likewise.
  # 'frozen_resnet10': one trunk with pretrained weights for all cameras, that
  # stays as it is; what follows it is trained.
  kind: Kind = 'small'
  # File of the frozen trunk's weights; see `serl.networks.pretrained`.
  weights: configs.Path | None = None
  # From the map of features to a vector.
  pooling: _Pooling = 'average'
  # Channels of the small encoder's convolutions.
  features: _Widths = (32, 64, 128, 256)
  # Learned sums of each channel, for pooling by 'spatial_embeddings'.
  spatial_features: configs.Size = 8
  # Width of the layer behind the pooling, of each camera.
  bottleneck_size: configs.Size = 256
  # Width of the layer for all that is not an image.
  proprioception_size: configs.Size = 64
  # Map what has finite bounds to [-1, 1] before that layer.
  scale_proprioception: bool = False

  def __post_init__(self):
    configs.check(self)
    is_frozen = self.kind == 'frozen_resnet10'
    configs.demand(
      self,
      (
        'weights',
        self.weights is not None or not is_frozen,
        f"a file for the kind 'frozen_resnet10'. {pretrained.WHERE[:-1]}",
      ),
      (
        'weights',
        self.weights is None or is_frozen,
        f"None for the kind {self.kind!r}: only 'frozen_resnet10' has weights "
        'from a file',
      ),
    )

  def describe(self) -> dict[str, Any]:
    """Returns the configuration as plain data, the weights by their hash."""
    described = dataclasses.asdict(self)
    described['features'] = list(self.features)
    if self.weights is not None:
      contents = pretrained.find(self.weights).read_bytes()
      described['weights'] = hashlib.sha256(contents).hexdigest()
    return described


def image_paths(observation_spec: types.NestedSpec) -> tuple[str, ...]:
  """Returns the sorted names of an observation's images.

  An image is an array of bytes [H, W, C], or with frame stacking
  [stack, H, W, C].
  """
  leaves = specs.flatten(observation_spec)
  return tuple(path for path, leaf in leaves.items() if specs.is_image(leaf))


def make_state_encoder(
  observation_spec: types.NestedSpec, scale: bool = True
) -> Encoder:
  """Makes an encoder of state that learns nothing: its numbers in a row.

  Args:
    observation_spec: a tree of specs.
    scale: see `observations.make_flatten`.

  Raises:
    ValueError: if there is an image.
  """
  specs.check_images(observation_spec)
  images = image_paths(observation_spec)
  if images:
    raise ValueError(
      f'The observation {", ".join(images)} is an image, expected state alone: '
      'its bytes say little as numbers in a row. Train from images with DrQ '
      '(serl.agents.drq), or leave them out of what is observed.'
    )
  flatten = observations.make_flatten(observation_spec, scale)
  return Encoder(
    init=lambda key: {},
    apply=lambda params, observation: flatten(observation),
    size=observations.flat_size(observation_spec),
  )


def make_encoder(
  observation_spec: types.NestedSpec, config: EncoderConfig
) -> Encoder:
  """Makes an encoder with a network of its own for each camera.

  A frozen trunk stands once for all cameras. Its weights are constants of
  `apply`, and so are neither trained, copied nor published.

  Args:
    observation_spec: a tree of specs with at least one image. What is no image
      is proprioception: a linear layer, LayerNorm and tanh.
    config: of the network.

  Raises:
    ValueError: if there is no image, or one that the network cannot take.
    FileNotFoundError: if there is no file of weights.
  """
  specs.check_images(observation_spec)
  leaves = specs.flatten(observation_spec)
  images = {path: leaves[path] for path in image_paths(observation_spec)}
  others = {path: x for path, x in leaves.items() if path not in images}
  if not images:
    raise ValueError(
      f'The observation has no image [H, W, C] of uint8 among {list(leaves)}; '
      'an agent of state needs no encoder.'
    )
  for path, leaf in images.items():
    _check_spec(path, leaf, config)
  flatten = observations.make_flatten(others, config.scale_proprioception)
  read_images = _make_image_reader(images, config)

  def read(observation: types.NestedArray):
    arrays = specs.flatten(observation)
    _check_observation(arrays, images, leaves)
    proprioception = {path: arrays[path] for path in others}
    return (
      read_images({path: jnp.asarray(arrays[path]) for path in images}),
      flatten(proprioception) if others else None,
    )

  def embed(inputs: Mapping[str, jax.Array], proprioception: jax.Array | None):
    # One by one: as a grouped convolution of all cameras it would take a CPU
    # five times as long.
    embeddings = [
      _CameraEncoder(config, name=_module_name(path))(value)
      for path, value in inputs.items()
    ]
    if proprioception is not None:
      layer = mlp.MLP([config.proprioception_size], name='proprioception')
      embeddings.append(layer(proprioception))
    return jnp.concatenate(embeddings, axis=-1)

  network = hk.without_apply_rng(hk.transform(embed))

  def init(key: types.PRNGKey) -> types.Params:
    example = jax.tree.map(lambda x: x[None], specs.zeros_like(leaves))
    # Shapes alone: evaluating a frozen trunk here would take its time.
    inputs = jax.eval_shape(read, example)
    inputs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), inputs)
    return network.init(key, *inputs)

  def apply(params: types.Params, observation: types.NestedArray) -> jax.Array:
    return network.apply(params, *read(observation))

  size = len(images) * config.bottleneck_size
  return Encoder(
    init, apply, size + (config.proprioception_size if others else 0)
  )


class _CameraEncoder(hk.Module):
  """What of a camera's network is trained."""

  def __init__(self, config: EncoderConfig, name: str):
    super().__init__(name=name)
    self._config = config

  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Maps what `_make_image_reader` returns to [B, bottleneck_size]."""
    config = self._config
    if config.kind == 'small':
      features = convolutions.SmallTrunk(config.features)(inputs)
    elif config.kind == 'resnet10':
      features = resnet.ResNet10()(inputs)
    else:
      features = inputs
    pooled = pooling.pool(features, config.pooling, config.spatial_features)
    return mlp.MLP([config.bottleneck_size], name='bottleneck')(pooled)


def _module_name(path: str) -> str:
  """Returns the name of a camera's network; a camera's may be a number."""
  name = re.sub(r'\W', '_', path) or 'image'
  return name if name.isidentifier() else f'camera_{name}'


def _make_image_reader(
  images: Mapping[str, specs.Array], config: EncoderConfig
) -> Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]:
  """Makes a function from images [B, *spec] to what is embedded, by camera.

  That is for 'small' the bytes [B, H, W, stack * C], for 'resnet10' the same
  normalised, and for 'frozen_resnet10' the features [B, h, w, stack * 512].
  """

  def frames(arrays):
    """Gives every image its axis of frames: [B, stack, H, W, C]."""
    return {
      path: x[:, None] if x.ndim == 4 else x for path, x in arrays.items()
    }

  if config.kind == 'small':
    return lambda arrays: jax.tree.map(_fold, frames(arrays))
  if config.kind == 'resnet10':
    return lambda arrays: jax.tree.map(
      lambda x: _fold(resnet.normalise(x)), frames(arrays)
    )
  trunk = hk.without_apply_rng(hk.transform(lambda x: resnet.ResNet10()(x)))
  weights = pretrained.load(config.weights)

  def evaluate(arrays):
    return jax.tree.map(
      _fold,
      _map_together(
        lambda x: trunk.apply(weights, resnet.normalise(x)), frames(arrays)
      ),
    )

  return evaluate


def _map_together(
  function: Callable[[jax.Array], jax.Array],
  arrays: Mapping[str, jax.Array],
) -> dict[str, jax.Array]:
  """Applies [N, H, W, C] -> [N, ...] once to all frames of one size.

  Args:
    function: to apply.
    arrays: [B, stack, H, W, C] by camera.

  Returns:
    [B, stack, ...] by camera, in the same order.
  """
  sizes = {x.shape[2:] for x in arrays.values()}
  results = {}
  for size in sorted(sizes):
    group = {path: x for path, x in arrays.items() if x.shape[2:] == size}
    flat = [x.reshape(-1, *size) for x in group.values()]
    mapped = function(jnp.concatenate(flat))
    ends = np.cumsum([len(x) for x in flat])
    for (path, x), part in zip(group.items(), jnp.split(mapped, ends[:-1])):
      results[path] = part.reshape(*x.shape[:2], *part.shape[1:])
  return {path: results[path] for path in arrays}


def _fold(frames: jax.Array) -> jax.Array:
  """Folds frames [B, stack, H, W, C] into channels: [B, H, W, stack * C]."""
  moved = jnp.moveaxis(frames, 1, 3)
  return moved.reshape(*moved.shape[:3], -1)


def _check_spec(path: str, leaf: specs.Array, config: EncoderConfig) -> None:
  *_, height, width, channels = leaf.shape
  if config.kind == 'small':
    least = convolutions.smallest_image(len(config.features))
    if min(height, width) < least:
      raise ValueError(
        f'The image {path or "value"} is {height} x {width}, expected at least '
        f'{least} x {least} for {len(config.features)} convolutions: render '
        'larger images or shorten EncoderConfig.features.'
      )
  elif channels != 3:
    raise ValueError(
      f'The image {path or "value"} has {channels} channels, expected the 3 of '
      f"RGB for an encoder of kind {config.kind!r}; 'small' takes any number."
    )


def _check_observation(
  arrays: Mapping[str, Any],
  images: Mapping[str, specs.Array],
  leaves: Mapping[str, specs.Array],
) -> None:
  if arrays.keys() != leaves.keys():
    raise ValueError(
      f'The observation has the arrays {sorted(arrays)}, its spec has '
      f'{sorted(leaves)}: missing {sorted(leaves.keys() - arrays.keys())}, not '
      f'expected {sorted(arrays.keys() - leaves.keys())}. Give the environment '
      'the cameras that the agent was made for, or make another agent.'
    )
  for path, leaf in images.items():
    array, name = arrays[path], path or 'value'
    if array.dtype != np.uint8:
      raise ValueError(
        f'The image {name} is of {array.dtype}, expected uint8 in [0, 255]. '
        'Give the bytes of the camera: the encoder scales them itself.'
      )
    if tuple(array.shape[1:]) != tuple(leaf.shape):
      raise ValueError(
        f'The image {name} has shape {tuple(array.shape)}, expected '
        f'[B, {", ".join(map(str, leaf.shape))}]: resize in the environment, '
        'or make an agent for images of that size.'
      )
