"""Replays a golden file of the reference's reward classifier on this code."""

from collections.abc import Iterator, Mapping
import pathlib
import re
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from serl import specs
from serl.agents.classifier import config as classifier_config
from serl.agents.classifier import networks as classifier_networks
from serl.networks import encoders

# The arrays of a golden file by key.
Golden = Mapping[str, np.ndarray]
# (group, key in the file, what this code computes for it)
Computed = Iterator[tuple[str, str, Any]]

# What a replay takes from a file and therefore does not compare.
INPUTS = re.compile(r'(config|meta|input|params)/.*')

_ENCODER = 'params/encoder_def/encoder_'
# The reference's names in an encoder and in the head by this code's endings.
_ENCODER_NAMES = {
  'spatial_embeddings': 'SpatialLearnedEmbeddings_0',
  'linear_0': 'Dense_0',
  'layer_norm_0': 'LayerNorm_0',
}
_HEAD_NAMES = {
  'hidden': 'Dense_0',
  'layer_norm': 'LayerNorm_0',
  'logit': 'Dense_1',
}
_LEAVES = {'w': 'kernel', 'b': 'bias', 'scale': 'scale', 'offset': 'bias'}


def is_golden(golden: Golden) -> bool:
  """Returns whether a file is one of the reward classifier."""
  return {'logits', 'logits_unbatched_first'} <= golden.keys()


def replay(golden: Golden) -> Computed:
  """Yields all that this code computes for a file."""
  observation = {
    key.removeprefix('input/'): jnp.asarray(value)
    for key, value in golden.items()
    if key.startswith('input/')
  }
  spec = {
    path: specs.Array(image.shape[1:], np.uint8)
    for path, image in observation.items()
  }
  with tempfile.TemporaryDirectory() as folder:
    weights = pathlib.Path(folder) / 'trunk.safetensors'
    safetensors.numpy.save_file(_trunk(golden), weights)
    networks = classifier_networks.make_networks(
      spec, _read_config(golden, str(weights))
    )
  params = _read_params(golden, networks)
  classify = jax.jit(
    lambda params, x: classifier_networks.classify(networks, params, x)
  )
  yield 'logits', 'logits', classify(params, observation)[:, None]
  first = jax.tree.map(lambda x: x[:1], observation)
  key = 'logits_unbatched_first'
  yield key, key, classify(params, first)


def _trunk(golden: Golden) -> dict[str, np.ndarray]:
  """Returns the trunk's weights, which stand under one camera for all."""
  pattern = re.compile(f'{_ENCODER}[^/]+/pretrained_encoder/(.+)')
  found = {m[1]: golden[m[0]] for m in map(pattern.fullmatch, golden) if m}
  return {name: np.ascontiguousarray(x) for name, x in found.items()}


def _read_config(
  golden: Golden, weights: str
) -> classifier_config.NetworkConfig:
  """Returns the configuration with the sizes of a file's arrays."""

  def size(ending):
    return next(
      golden[key].shape[-1]
      for key in sorted(golden)
      if key.startswith(_ENCODER) and key.endswith(ending)
    )

  encoder = encoders.EncoderConfig(
    kind='frozen_resnet10',
    weights=weights,
    pooling='spatial_embeddings',
    spatial_features=size('/SpatialLearnedEmbeddings_0/kernel'),
    bottleneck_size=size('/Dense_0/kernel'),
  )
  hidden_size = golden['params/Dense_0/kernel'].shape[-1]
  return classifier_config.NetworkConfig(
    encoder=encoder, hidden_size=hidden_size
  )


def _read_params(
  golden: Golden, networks: classifier_networks.ClassifierNetworks
) -> classifier_networks.ClassifierParams:
  """Returns the parameters of a file in this code's tree."""
  expected = jax.eval_shape(
    lambda key: classifier_networks.init(networks, key), jax.random.PRNGKey(0)
  )

  def read(modules, name_of):
    return {
      module: {
        leaf: jnp.asarray(golden[f'{name_of(module)}/{_LEAVES[leaf]}'])
        for leaf in leaves
      }
      for module, leaves in modules.items()
    }

  def encoder_name(module):
    camera, *_, layer = module.split('/')
    return f'{_ENCODER}{camera}/{_ENCODER_NAMES[layer]}'

  return classifier_networks.ClassifierParams(
    encoder=read(expected.encoder, encoder_name),
    head=read(expected.head, lambda module: f'params/{_HEAD_NAMES[module]}'),
  )
