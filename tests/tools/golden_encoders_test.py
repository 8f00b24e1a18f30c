"""Tests of golden_encoders: on the reference's numbers, and on files made here.

What the files made here hold is computed from the formulas, by numpy.
"""

import os
import pathlib
import pickle
import shutil

from absl.testing import flagsaver
import numpy as np
import pytest
import safetensors.numpy

from serl import specs
from serl.networks import pretrained
from serl.tools import golden_encoders
from serl.tools import parity

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = pathlib.Path(
  os.environ.get('SERL_GOLDENS', CHECKOUT.parent / 'shared' / 'goldens')
)


@pytest.fixture(autouse=True)
def parsed_flags():
  with flagsaver.flagsaver((parity._TOLERANCE, 1e-5)):
    parity.flags.FLAGS.mark_as_parsed()
    yield


@pytest.fixture
def run(tmp_path):
  """Runs the tool on a file of the given arrays; returns the exit code."""

  def run(golden, weights=None):
    path = tmp_path / 'any_name.npz'
    np.savez(path, **golden)
    with flagsaver.flagsaver((parity._WEIGHTS, weights)):
      return parity.main(['parity', str(path)])

  return run


def _normal(*shape):
  random = np.random.default_rng(sum(shape))
  return random.normal(size=shape).astype(np.float32)


def _pixels(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _head(features, embeddings, width):
  """Returns the parameters behind a map of features, and what comes of it."""
  params = {
    'SpatialLearnedEmbeddings_0/kernel': _normal(
      *features.shape[1:], embeddings
    ),
    'Dense_0/kernel': _normal(features.shape[-1] * embeddings, width),
    'Dense_0/bias': _normal(width),
    'LayerNorm_0/scale': _normal(width + 1)[1:],
    'LayerNorm_0/bias': _normal(width + 2)[2:],
  }
  kernel = params['SpatialLearnedEmbeddings_0/kernel']
  pooled = np.einsum('bhwc,hwce->bce', features, kernel)
  pooled = pooled.reshape(len(features), -1)
  dense = pooled @ params['Dense_0/kernel'] + params['Dense_0/bias']
  outputs = {
    'SpatialLearnedEmbeddings_0': pooled,
    'Dense_0': dense,
    'LayerNorm_0': _layer_norm(dense, params),
  }
  return {f'params/{name}': x for name, x in params.items()}, outputs


def _layer_norm(inputs, params, prefix=''):
  centred = inputs - inputs.mean(-1, keepdims=True)
  normed = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-6)
  scale, bias = (params[f'{prefix}LayerNorm_0/{x}'] for x in ('scale', 'bias'))
  return normed * scale + bias


def _convolve(images, kernel):
  """Returns the 3 x 3 convolution with stride 2 and no padding."""
  size = (images.shape[1] - 3) // 2 + 1
  last = 2 * size - 1
  return sum(
    images[:, i : i + last : 2, j : j + last : 2] @ kernel[i, j]
    for i in range(3)
    for j in range(3)
  )


@pytest.fixture
def small():
  images = _pixels(2, 15, 15, 3)
  golden = {'input': images}
  hidden = images / np.float32(255)
  for i, channels in enumerate((4, 6)):
    golden[f'params/Conv_{i}/kernel'] = _normal(
      3, 3, hidden.shape[-1], channels
    )
    golden[f'params/Conv_{i}/bias'] = _normal(channels)
    hidden = _convolve(hidden, golden[f'params/Conv_{i}/kernel'])
    hidden = hidden + golden[f'params/Conv_{i}/bias']
    golden[f'intermediate/Conv_{i}'] = hidden
    hidden = np.maximum(hidden, 0)
  params, outputs = _head(hidden, 2, 8)
  outputs['Dropout_0'] = outputs['SpatialLearnedEmbeddings_0']
  golden |= params | {f'intermediate/{k}': x for k, x in outputs.items()}
  return golden | {'output': np.tanh(outputs['LayerNorm_0'])}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  arrays = {
    name: _normal(*shape) / shape[0]
    for name, (_, _, shape) in pretrained.expected_arrays().items()
  }
  path = tmp_path_factory.mktemp('weights') / 'trunk.safetensors'
  safetensors.numpy.save_file(arrays, path)
  return str(path)


@pytest.fixture(scope='module')
def trunk(weights):
  """A file of a trunk that holds what this code computes."""
  golden = {
    'input': _pixels(2, 32, 32, 3),
    'intermediate/conv_init': np.zeros(()),
    'weights': np.array(weights),
  }
  replayed = golden_encoders.replay(golden)
  computed = {key: np.asarray(value) for _, key, value in replayed}
  return {'input': golden['input'], **computed}


@pytest.mark.parametrize(
  'name',
  [
    'small_encoder',
    'small_encoder_sle',
    'resnet10_frozen',
    'resnet10_pooled',
    'resnet10_pretrained_encoder',
    'random_crop',
  ],
)
def test_the_references_numbers(name, tmp_path, capsys):
  path = GOLDENS / f'{name}.npz'
  if not path.exists():
    pytest.skip(f'{path} is not there: set SERL_GOLDENS to the goldens folder')
  renamed = shutil.copy(path, tmp_path / 'renamed.npz')
  weights = str(GOLDENS / 'resnet10_params.pkl')
  with flagsaver.flagsaver((parity._WEIGHTS, weights)):
    code = parity.main(['parity', str(renamed)])
  printed = capsys.readouterr().out
  assert code == 0, printed
  assert 'not compared' not in printed


def test_a_small_encoder_by_the_formulas(small, run, capsys):
  assert run(small) == 0, capsys.readouterr().out
  printed = capsys.readouterr().out
  assert '(7 arrays compared)' in printed
  assert 'not compared' not in printed


@pytest.mark.parametrize(
  'key', ['output', 'intermediate/Conv_1', 'intermediate/Dropout_0']
)
def test_a_perturbed_number_of_an_encoder_is_found(small, run, key, capsys):
  spoilt = small[key].copy()
  spoilt.flat[0] += 1e-2
  assert run({**small, key: spoilt}) == 1
  assert key.split('/')[-1] in capsys.readouterr().out


def test_an_average_pools_where_there_are_no_embeddings(small, run, capsys):
  golden = {
    key: value
    for key, value in small.items()
    if not key.startswith(('intermediate', 'params/Spatial', 'output'))
  }
  pooled = np.maximum(small['intermediate/Conv_1'], 0).mean((1, 2))
  golden['params/Dense_0/kernel'] = _normal(6, 8)
  dense = pooled @ _normal(6, 8) + golden['params/Dense_0/bias']
  golden['output'] = np.tanh(_layer_norm(dense, golden, 'params/'))
  assert run(golden) == 0, capsys.readouterr().out


def test_a_trunk(trunk, weights, run, capsys):
  assert trunk['output'].shape == (2, 1, 1, 512)
  assert trunk['intermediate/norm_init'].shape == (2, 16, 16, 64)
  assert run(trunk, weights) == 0
  assert '(7 arrays compared)' in capsys.readouterr().out
  held = safetensors.numpy.load_file(weights)
  held = {f'params/{name}': x for name, x in held.items()}
  assert run(trunk | held) == 0
  held['params/norm_init/scale'] *= 2
  assert run(trunk | held) == 1
  assert run(trunk) == 2
  assert 'resnet10_params.pkl' in capsys.readouterr().err


def test_weights_are_found_beside_the_file(trunk, run, tmp_path, weights):
  # As SERL's file, whose arrays stand in nested dicts.
  arrays = safetensors.numpy.load_file(weights)
  (tmp_path / 'resnet10_params.pkl').write_bytes(
    pickle.dumps(specs.unflatten(arrays))
  )
  assert run(trunk) == 0


def test_pooling_behind_a_trunk_by_the_formulas(trunk, weights, run, capsys):
  params, outputs = _head(trunk['output'], 2, 8)
  golden = {
    'input': trunk['input'],
    'trunk_is': np.array('resnet10_params.pkl'),
    **params,
    'output': np.tanh(outputs['LayerNorm_0']),
    'output_from_encoded': np.tanh(outputs['LayerNorm_0']),
    'spatial_learned_embeddings': outputs['SpatialLearnedEmbeddings_0'],
  }
  assert run(golden, weights) == 0, capsys.readouterr().out
  assert '(3 arrays compared)' in capsys.readouterr().out
  assert run({**golden, 'output': golden['output'] + 1e-3}, weights) == 1


def test_a_crop_is_exact(run):
  images = _pixels(3, 1, 9, 9, 3)
  offsets = np.array([[0, 8], [4, 4], [7, 1]], np.int32)
  padded = np.pad(images, [(0, 0)] * 2 + [(4, 4)] * 2 + [(0, 0)], 'edge')
  golden = {
    'input': images,
    'padding': np.int64(4),
    'offsets_row_col': offsets,
    'key': np.zeros(2, np.uint32),
    'output': np.stack(
      [
        image[:, row : row + 9, column : column + 9]
        for image, (row, column) in zip(padded, offsets)
      ]
    ),
  }
  assert run(golden) == 0
  golden['output'][0, 0, 0, 0, 0] ^= 1
  assert run(golden) == 1
