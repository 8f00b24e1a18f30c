"""Tests of convert_weights."""

import pathlib
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest

from serl import specs
from serl.networks import pretrained
from serl.tools import convert_weights
from serl.utils import restricted_pickle

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  random = np.random.default_rng(0)
  arrays = {
    name: random.normal(size=shape).astype(np.float32)
    for name, (_, _, shape) in pretrained.expected_arrays().items()
  }
  path = tmp_path_factory.mktemp('weights') / 'resnet10_params.pkl'
  path.write_bytes(pickle.dumps(specs.unflatten(arrays)))
  return path


def _run(*arguments):
  return convert_weights.main(['convert_weights', *map(str, arguments)])


def test_what_is_written_loads_as_the_same(source, tmp_path, capsys):
  target = tmp_path / 'trunk.safetensors'
  assert _run(source, target) == 0
  assert f'{target}: 36 arrays, ' in capsys.readouterr().out
  jax.tree.map(
    np.testing.assert_array_equal,
    pretrained.load(str(target)),
    pretrained.load(str(source)),
  )


def test_only_the_trunk_is_written(source, tmp_path, capsys):
  whole = restricted_pickle.load(str(source)) | {'head': {'kernel': np.ones(3)}}
  other = tmp_path / 'whole.pkl'
  other.write_bytes(pickle.dumps(whole))
  assert _run(other, tmp_path / 'new' / 'trunk.safetensors') == 0
  assert ': 36 arrays, ' in capsys.readouterr().out


def test_what_cannot_be_converted(source, tmp_path, capsys):
  target = tmp_path / 'trunk.safetensors'
  assert _run(tmp_path / 'absent.pkl', target) == 2
  assert 'absent.pkl' in capsys.readouterr().err
  other = tmp_path / 'other.pkl'
  other.write_bytes(pickle.dumps({'kernel': np.zeros(2)}))
  assert _run(other, target) == 2
  assert 'is not of a ResNet-10' in capsys.readouterr().err
  other.write_bytes(pickle.dumps(_run))
  assert _run(other, target) == 2
  assert 'convert_weights_test._run, which' in capsys.readouterr().err
  assert _run(source, tmp_path / 'trunk.npz') == 2
  assert 'expected a .safetensors' in capsys.readouterr().err
  assert _run(source) == 2
  assert not list(tmp_path.glob('trunk.*'))


def test_help():
  command = [sys.executable, '-m', 'serl.tools.convert_weights', '--help']
  shown = subprocess.run(
    command, cwd=CHECKOUT, capture_output=True, text=True, timeout=200
  )
  assert 'convert_weights IN OUT' in shown.stdout
