"""Tests of golden_classifier: on a file computed here by other means."""

import haiku as hk
import jax
import numpy as np
import pytest

from serl.networks import pretrained
from serl.networks import resnet
from serl.tools import golden_classifier
from serl.tools import parity

SIZE, SPATIAL, BOTTLENECK, HIDDEN = 32, 2, 6, 5
CAMERAS = ('front', 'wrist')


def _normalise(hidden, scale, bias):
  centred = hidden - hidden.mean(axis=-1, keepdims=True)
  std = np.sqrt(hidden.var(axis=-1, keepdims=True) + 1e-6)
  return centred / std * scale + bias


def _trunk():
  """Returns random weights by the reference's names."""
  rng = np.random.default_rng(1)
  return {
    name: (0.05 * rng.normal(size=shape)).astype(np.float32)
    for name, (_, _, shape) in pretrained.expected_arrays().items()
  }


def _features(trunk, images):
  network = hk.without_apply_rng(hk.transform(lambda x: resnet.ResNet10()(x)))
  weights = pretrained.from_arrays(trunk, 'here')
  apply = jax.jit(network.apply)
  return np.asarray(apply(weights, resnet.normalise(images)))


@pytest.fixture(scope='module')
def golden():
  rng = np.random.default_rng(0)
  draw = lambda *shape: (0.3 * rng.normal(size=shape)).astype(np.float32)
  trunk = _trunk()
  encoder = 'params/encoder_def/encoder_'
  file = {f'{encoder}front/pretrained_encoder/{k}': v for k, v in trunk.items()}
  embeddings = []
  for camera in CAMERAS:
    images = rng.integers(0, 256, (3, 1, SIZE, SIZE, 3)).astype(np.uint8)
    features = _features(trunk, images[:, 0])
    kernel = draw(*features.shape[1:], SPATIAL)
    dense = draw(features.shape[-1] * SPATIAL, BOTTLENECK)
    bias, scale, offset = draw(BOTTLENECK), draw(BOTTLENECK), draw(BOTTLENECK)
    pooled = np.einsum('bhwc,hwce->bce', features, kernel).reshape(3, -1)
    hidden = pooled @ dense + bias
    embeddings.append(np.tanh(_normalise(hidden, scale, offset)))
    name = f'{encoder}{camera}'
    file |= {
      f'input/{camera}': images,
      f'{name}/SpatialLearnedEmbeddings_0/kernel': kernel,
      f'{name}/Dense_0/kernel': dense,
      f'{name}/Dense_0/bias': bias,
      f'{name}/LayerNorm_0/scale': scale,
      f'{name}/LayerNorm_0/bias': offset,
    }
  head = {
    'Dense_0/kernel': draw(2 * BOTTLENECK, HIDDEN),
    'Dense_0/bias': draw(HIDDEN),
    'LayerNorm_0/scale': draw(HIDDEN),
    'LayerNorm_0/bias': draw(HIDDEN),
    'Dense_1/kernel': draw(HIDDEN, 1),
    'Dense_1/bias': draw(1),
  }
  hidden = np.concatenate(embeddings, axis=-1) @ head['Dense_0/kernel']
  hidden = _normalise(
    hidden + head['Dense_0/bias'],
    head['LayerNorm_0/scale'],
    head['LayerNorm_0/bias'],
  )
  logits = np.maximum(hidden, 0) @ head['Dense_1/kernel'] + head['Dense_1/bias']
  file |= {f'params/{name}': value for name, value in head.items()}
  return {**file, 'logits': logits, 'logits_unbatched_first': logits[0]}


def test_agrees_with_numpy(golden):
  kind = parity.find_kind(golden)
  compared = parity.compare(golden, kind.replay(golden), kind.inputs)
  assert set(compared.groups) == {'logits', 'logits_unbatched_first'}
  assert max(worst.error for worst in compared.groups.values()) < 1e-4
  assert compared.skipped == []


def test_a_missing_array_is_named(golden):
  without = {k: v for k, v in golden.items() if k != 'params/Dense_1/bias'}
  with pytest.raises(ValueError, match='Dense_1/bias: missing'):
    list(golden_classifier.replay(without))
