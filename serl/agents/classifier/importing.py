"""A classifier out of the parameters of SERL's.

SERL's stands on a ResNet-10 that it does not train. Its checkpoints hold that
under one of the cameras, for all. Here each camera's network gets it as a part
of its own, so that the classifier's file is all that is needed.
"""

from collections.abc import Mapping, Sequence
import os
import re

import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl.agents.classifier import config as classifier_config
from serl.agents.classifier import networks as classifier_networks
from serl.agents.classifier import saving
from serl.networks import encoders
from serl.networks import pretrained

_ENCODER = 'encoder_def/encoder_'
_TRUNK = 'pretrained_encoder/'
_EMBEDDINGS = 'SpatialLearnedEmbeddings_0'
_HEAD_KERNEL = 'Dense_0/kernel'
# SERL's names in an encoder and in the head by this code's endings.
_ENCODER_NAMES = {
  'spatial_embeddings': _EMBEDDINGS,
  'linear_0': 'Dense_0',
  'layer_norm_0': 'LayerNorm_0',
}
_HEAD_NAMES = {
  'hidden': 'Dense_0',
  'layer_norm': 'LayerNorm_0',
  'logit': 'Dense_1',
}
_LEAVES = {'w': 'kernel', 'b': 'bias', 'scale': 'scale', 'offset': 'bias'}

_PIXELS = 32  # of an image's side, for one of the trunk's features
_SHOWN = 8  # lines of an error


def from_serl(
  arrays: Mapping[str, np.ndarray],
  source: str | os.PathLike,
  cameras: Sequence[str] | None = None,
  image_size: int | None = None,
  threshold: float = 0.5,
  weights: str | None = None,
) -> saving.Classifier:
  """Returns the classifier that SERL's code has trained.

  Args:
    arrays: its parameters by flax's names, such as
      'encoder_def/encoder_front/Dense_0/kernel'.
    source: where they are from, for errors.
    cameras: in the order of SERL's `image_keys`, which the arrays do not tell;
      None for sorted, as SERL's own scripts have them.
    image_size: height and width in pixels; None for what the arrays ask for,
      128 for SERL's.
    threshold: above it a probability is success, in [0, 1).
    weights: file of the trunk, where it is not among the arrays.

  Raises:
    FileNotFoundError: there is no file of weights.
    ValueError: the threshold or the image size is out of range, or the weights
      are no ResNet-10's.
    saving.ClassifierFileError: the arrays are an agent's, of another network or
      of other cameras, or not finite; or there is no trunk, or two.
  """
  if not 0 <= threshold < 1:
    raise ValueError(f'threshold is {threshold!r}, expected in [0, 1).')
  if image_size is not None and image_size < 1:
    raise ValueError(f'image_size is {image_size}, expected at least 1 pixel.')
  found = _find_cameras(arrays, source)
  order = found if cameras is None else list(cameras)
  if sorted(order) != found:
    raise saving.ClassifierFileError(
      f'{source} looks at the cameras {found}, not at {order}: name each of '
      "its own once, in the order of SERL's image_keys."
    )
  arrays = {**arrays, **_missing_trunks(arrays, found, source, weights)}
  config, image_spec = _make_config(arrays, found, image_size, source)
  networks = classifier_networks.make_networks(image_spec, config)
  expected = jax.eval_shape(
    lambda key: classifier_networks.init(networks, key), jax.random.PRNGKey(0)
  )
  names = _serls_names(expected)
  sizes = ', '.join(f'{p} {list(x.shape)}' for p, x in image_spec.items())
  _check(arrays, names, expected, f'{source}, with the images {sizes}')
  # The head reads the cameras' embeddings in a row; here they are sorted.
  rows = dict(zip(order, np.split(arrays[_HEAD_KERNEL], len(order))))
  arrays[_HEAD_KERNEL] = np.concatenate([rows[camera] for camera in found])
  params = jax.tree.map(
    lambda name: jnp.asarray(arrays[name], jnp.float32), names
  )
  return saving.Classifier(config, networks, params, threshold)


def _find_cameras(
  arrays: Mapping[str, np.ndarray], source: str | os.PathLike
) -> list[str]:
  found = {
    m[1] for m in map(re.compile(f'{_ENCODER}([^/]+)/').match, arrays) if m
  }
  if found:
    return sorted(found)
  modules = sorted({name.partition('/')[0] for name in arrays})
  if any(module.startswith('modules_') for module in modules):
    raise saving.ClassifierFileError(
      f"{source} is an agent's, with {modules}, which gives actions, not "
      "rewards; give what SERL's train_reward_classifier.py wrote."
    )
  raise saving.ClassifierFileError(
    f'{source} holds {modules[:5]}, expected {_ENCODER}CAMERA; give what '
    "SERL's train_reward_classifier.py wrote."
  )


def _missing_trunks(
  arrays: Mapping[str, np.ndarray],
  cameras: Sequence[str],
  source: str | os.PathLike,
  weights: str | None,
) -> dict[str, np.ndarray]:
  """Returns the trunk for each camera under which there is none."""
  trunks = {
    camera: _under(arrays, f'{_ENCODER}{camera}/{_TRUNK}') for camera in cameras
  }
  held = [trunk for trunk in trunks.values() if trunk]
  if held and weights is not None:
    raise saving.ClassifierFileError(
      f'{source} holds the frozen weights that it was trained with: leave out '
      f'{weights}.'
    )
  if not held and weights is None:
    raise saving.ClassifierFileError(
      f'{source} holds no {_TRUNK[:-1]}, the frozen ResNet-10: give the file '
      'of weights that it was trained with, resnet10_params.pkl.'
    )
  if not held:
    trunk = pretrained.read_arrays(weights)
    pretrained.from_arrays(trunk, weights)  # refuses what is no ResNet-10
    held = [{name: trunk[name] for name in pretrained.expected_arrays()}]
  return {
    f'{_ENCODER}{camera}/{_TRUNK}{name}': array
    for camera, trunk in trunks.items()
    if not trunk
    for name, array in held[0].items()
  }


def _under(
  arrays: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
  return {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if name.startswith(prefix)
  }


def _make_config(
  arrays: Mapping[str, np.ndarray],
  cameras: Sequence[str],
  image_size: int | None,
  source: str | os.PathLike,
) -> tuple[classifier_config.NetworkConfig, dict[str, specs.Array]]:
  """Returns the configuration and the images that the arrays' sizes tell."""

  def shape(name, axes):
    if np.ndim(arrays.get(name)) != axes:
      raise saving.ClassifierFileError(
        f"{source} has no {name} of {axes} axes, which is part of SERL's "
        "classifier; give what SERL's train_reward_classifier.py wrote."
      )
    return arrays[name].shape

  image_spec = {}
  for camera in cameras:
    *map_size, _, sums = shape(f'{_ENCODER}{camera}/{_EMBEDDINGS}/kernel', 4)
    height, width = (image_size or _PIXELS * side for side in map_size)
    image_spec[camera] = specs.Array((height, width, 3), np.uint8, camera)
  encoder = encoders.EncoderConfig(
    kind='resnet10',
    pooling='spatial_embeddings',
    spatial_features=sums,
    bottleneck_size=shape(f'{_ENCODER}{cameras[0]}/Dense_0/kernel', 2)[-1],
  )
  hidden_size = shape(_HEAD_KERNEL, 2)[-1]
  config = classifier_config.NetworkConfig(
    encoder=encoder, hidden_size=hidden_size
  )
  return config, image_spec


def _serls_names(
  expected: classifier_networks.ClassifierParams,
) -> classifier_networks.ClassifierParams:
  """Returns the tree of parameters with SERL's names as its leaves."""
  trunk = {
    (module, leaf): name
    for name, (module, leaf, _) in pretrained.expected_arrays().items()
  }

  def in_encoder(module: str, leaf: str) -> str:
    camera, _, rest = module.partition('/')
    if (rest, leaf) in trunk:
      return f'{_ENCODER}{camera}/{_TRUNK}{trunk[rest, leaf]}'
    layer = _ENCODER_NAMES[rest.rpartition('/')[2]]
    return f'{_ENCODER}{camera}/{layer}/{_LEAVES[leaf]}'

  def in_head(module: str, leaf: str) -> str:
    return f'{_HEAD_NAMES[module]}/{_LEAVES[leaf]}'

  def read(modules, name_of):
    return {
      module: {leaf: name_of(module, leaf) for leaf in leaves}
      for module, leaves in modules.items()
    }

  return classifier_networks.ClassifierParams(
    read(expected.encoder, in_encoder), read(expected.head, in_head)
  )


def _check(
  arrays: Mapping[str, np.ndarray],
  names: classifier_networks.ClassifierParams,
  expected: classifier_networks.ClassifierParams,
  source: str,
) -> None:
  shapes = zip(jax.tree.leaves(names), jax.tree.leaves(expected))
  lines = specs.differences(
    {name: list(array.shape) for name, array in arrays.items()},
    {name: list(leaf.shape) for name, leaf in shapes},
  ) or [
    f'{name}: not finite'
    for name, array in arrays.items()
    if not np.isfinite(array).all()
  ]
  if lines:
    more = [f'and {len(lines) - _SHOWN} more'] if len(lines) > _SHOWN else []
    raise saving.ClassifierFileError(
      f"{source}: no classifier of SERL's; give what its "
      'train_reward_classifier.py wrote, and the size of the images that it '
      'was trained with:\n  ' + '\n  '.join(lines[:_SHOWN] + more)
    )
