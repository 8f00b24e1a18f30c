"""Replays golden files of encoders and of the random crop on this code.

The encoders are those that `serl.networks.encoders` makes for an agent, with
the recorded parameters; what happens inside is read off their modules.
"""

from collections.abc import Iterator, Mapping
import contextlib
import re
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl.networks import encoders
from serl.networks import pretrained
from serl.networks import resnet
from serl.ops import augmentation

# The arrays of a golden file by key.
Golden = Mapping[str, np.ndarray]
# (group, key in the file, what this code computes for it)
Computed = Iterator[tuple[str, str, Any]]

# What a replay takes from a file and therefore does not compare. `key` is the
# seed that the reference drew its offsets from.
INPUTS = re.compile(
  r'input|params/.*|trunk_is|weights|key|padding|offsets_row_col'
)

# The path, as text, of the trunk's weights, where a file needs them and does
# not hold them itself.
WEIGHTS = 'weights'

_CAMERA = 'image'
_EMBEDDINGS = 'SpatialLearnedEmbeddings_0'
# The reference's names of what an encoder trains.
_MODULES = {
  f'{_CAMERA}/spatial_embeddings': _EMBEDDINGS,
  f'{_CAMERA}/bottleneck/linear_0': 'Dense_0',
  f'{_CAMERA}/bottleneck/layer_norm_0': 'LayerNorm_0',
}
_LEAVES = {'w': 'kernel', 'b': 'bias', 'scale': 'scale', 'offset': 'bias'}


def is_golden(golden: Golden) -> bool:
  """Returns whether a file is one of an encoder or of the random crop."""
  return 'input' in golden and (
    _is_crop(golden)
    or _is_small(golden)
    or _is_trunk(golden)
    or _is_pooled(golden)
  )


def needs_weights(golden: Golden) -> bool:
  """Returns whether a file is of a trunk whose weights are not in it."""
  held = 'params/conv_init/kernel' in golden
  return (_is_trunk(golden) or _is_pooled(golden)) and not held


def replay(golden: Golden) -> Computed:
  """Yields all that this code computes for a file."""
  if _is_crop(golden):
    yield from _replay_crop(golden)
  elif _is_trunk(golden):
    yield from _replay_trunk(golden)
  elif _is_pooled(golden):
    yield from _replay_pooled(golden)
  else:
    yield from _replay_small(golden)


def _is_crop(golden: Golden) -> bool:
  return 'offsets_row_col' in golden


def _is_small(golden: Golden) -> bool:
  return 'params/Conv_0/kernel' in golden


def _is_trunk(golden: Golden) -> bool:
  return 'intermediate/conv_init' in golden


def _is_pooled(golden: Golden) -> bool:
  return 'trunk_is' in golden


def _replay_crop(golden: Golden) -> Computed:
  offsets, padding = golden['offsets_row_col'], int(golden['padding'])
  if not ((offsets >= 0) & (offsets <= 2 * padding)).all():
    raise ValueError(
      f'offsets_row_col are {offsets.min()} to {offsets.max()}, expected 0 to '
      f'twice the padding, {2 * padding}'
    )
  crops = augmentation.random_crop(golden['input'], offsets, padding)
  yield 'output', 'output', crops


def _replay_trunk(golden: Golden) -> Computed:
  if needs_weights(golden):
    weights = pretrained.load(str(golden[WEIGHTS]))
  else:
    weights = pretrained.from_arrays(_under(golden, 'params'), 'params/')
  trunk = hk.without_apply_rng(hk.transform(lambda x: resnet.ResNet10()(x)))
  with _recorded() as outputs:
    features = trunk.apply(weights, resnet.normalise(golden['input']))
  yield 'output', 'output', features
  names = {'conv_init': 'conv_init', 'norm_init': 'norm_init'}
  for i in range(len(resnet.STAGES)):
    names[f'block_{i}'] = f'ResNetBlock_{i}'
  for ours, theirs in names.items():
    key = f'intermediate/{theirs}'
    yield 'intermediate', key, outputs[f'resnet10/{ours}']


def _replay_pooled(golden: Golden) -> Computed:
  config = encoders.EncoderConfig(
    kind='frozen_resnet10',
    weights=str(golden[WEIGHTS]),
    **_read_head(golden),
  )
  embedding, outputs = _embed(golden, config, _MODULES)
  yield 'output', 'output', embedding
  # The reference enters behind the trunk, too, to the same end.
  if 'output_from_encoded' in golden:
    yield 'output_from_encoded', 'output_from_encoded', embedding
  if 'spatial_learned_embeddings' in golden:
    key = 'spatial_learned_embeddings'
    yield key, key, outputs[_EMBEDDINGS]


def _replay_small(golden: Golden) -> Computed:
  layers = sum(
    bool(re.fullmatch(r'params/Conv_\d+/kernel', key)) for key in golden
  )
  convolutions = {
    f'{_CAMERA}/trunk/conv_{i}': f'Conv_{i}' for i in range(layers)
  }
  features = [golden[f'params/Conv_{i}/bias'].size for i in range(layers)]
  config = encoders.EncoderConfig(
    features=tuple(features), **_read_head(golden)
  )
  embedding, outputs = _embed(golden, config, convolutions | _MODULES)
  yield 'output', 'output', embedding
  # Dropout is off when the reference acts and when it evaluates.
  if _EMBEDDINGS in outputs:
    outputs['Dropout_0'] = outputs[_EMBEDDINGS]
  for name, value in outputs.items():
    yield 'intermediate', f'intermediate/{name}', value


def _read_head(golden: Golden) -> dict[str, Any]:
  """Returns the fields of the configuration for what follows the trunk."""
  head: dict[str, Any] = {'bottleneck_size': golden['params/Dense_0/bias'].size}
  kernel = f'params/{_EMBEDDINGS}/kernel'
  if kernel in golden:
    head['pooling'] = 'spatial_embeddings'
    head['spatial_features'] = golden[kernel].shape[-1]
  return head


def _embed(
  golden: Golden, config: encoders.EncoderConfig, modules: Mapping[str, str]
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Embeds the recorded images with the recorded parameters.

  Returns:
    the embedding, and the modules' outputs by the reference's names.
  """
  images = golden['input']
  spec = {_CAMERA: specs.Array(images.shape[1:], images.dtype)}
  encoder = encoders.make_encoder(spec, config)
  expected = jax.eval_shape(encoder.init, jax.random.PRNGKey(0))
  params = {
    module: {
      name: jnp.asarray(golden[f'params/{modules[module]}/{_LEAVES[name]}'])
      for name in leaves
    }
    for module, leaves in expected.items()
  }
  with _recorded() as outputs:
    embedding = encoder.apply(params, {_CAMERA: images})
  return embedding, {
    theirs: outputs[ours] for ours, theirs in modules.items() if ours in outputs
  }


@contextlib.contextmanager
def _recorded() -> Iterator[dict[str, jax.Array]]:
  """Collects what every module returns, by its name."""
  outputs: dict[str, jax.Array] = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if context.method_name == '__call__':
      outputs[context.module.module_name] = result
    return result

  with hk.intercept_methods(record):
    yield outputs


def _under(golden: Golden, prefix: str) -> dict[str, np.ndarray]:
  start = len(prefix) + 1
  return {k[start:]: v for k, v in golden.items() if k.startswith(prefix + '/')}
