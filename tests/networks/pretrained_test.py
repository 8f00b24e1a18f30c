"""Tests of pretrained, on random weights in the layout of SERL's file."""

import pathlib
import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy

from serl import specs
from serl.networks import pretrained


class _Attack:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


@pytest.fixture(scope='module')
def arrays():
  random = np.random.default_rng(0)
  return {
    name: random.normal(size=shape).astype(np.float32)
    for name, (_, _, shape) in pretrained.expected_arrays().items()
  }


@pytest.fixture
def save(tmp_path):
  def save(arrays):
    path = tmp_path / 'weights.pkl'
    path.write_bytes(pickle.dumps(specs.unflatten(arrays)))
    return str(path)

  return save


def test_serls_names_and_shapes():
  expected = pretrained.expected_arrays()
  assert len(expected) == 36
  assert expected['conv_init/kernel'] == (
    'resnet10/conv_init',
    'w',
    (7, 7, 3, 64),
  )
  assert expected['ResNetBlock_1/Conv_0/kernel'] == (
    'resnet10/block_1/conv_0',
    'w',
    (3, 3, 64, 128),
  )
  assert expected['ResNetBlock_3/MyGroupNorm_1/bias'] == (
    'resnet10/block_3/norm_1',
    'offset',
    (512,),
  )
  assert expected['ResNetBlock_2/norm_proj/scale'] == (
    'resnet10/block_2/norm_proj',
    'scale',
    (256,),
  )
  assert 'ResNetBlock_0/conv_proj/kernel' not in expected


def test_both_formats_hold_the_same(arrays, save, tmp_path):
  converted = tmp_path / 'weights.safetensors'
  safetensors.numpy.save_file(arrays, converted)
  params = pretrained.load(save(arrays))
  jax.tree.map(
    np.testing.assert_array_equal, params, pretrained.load(str(converted))
  )
  np.testing.assert_array_equal(
    params['resnet10/block_2/conv_proj']['w'],
    arrays['ResNetBlock_2/conv_proj/kernel'],
  )


def test_what_the_trunk_has_no_use_for_is_left_out(arrays, save):
  head = {'output_head/kernel': np.zeros((512, 1000), np.float32)}
  params = pretrained.load(save(arrays | head))
  assert not any('head' in module for module in params)


def test_an_absent_file_says_where_it_is_and_how_to_do_without(tmp_path):
  with pytest.raises(FileNotFoundError) as error:
    pretrained.load(str(tmp_path / 'absent.pkl'))
  message = str(error.value)
  for part in ('absent.pkl', 'github.com/rail-berkeley/serl', "'small'"):
    assert part in message


def test_weights_that_are_not_a_resnets_are_named(arrays, save):
  short = {k: v for k, v in arrays.items() if k != 'norm_init/scale'}
  with pytest.raises(ValueError, match='norm_init/scale is missing'):
    pretrained.load(save(short))
  other = arrays | {'conv_init/kernel': np.zeros((7, 7, 4, 64), np.float32)}
  with pytest.raises(ValueError, match=r'conv_init/kernel is \(7, 7, 4, 64\)'):
    pretrained.load(save(other))
  whole = arrays | {'norm_init/bias': np.zeros(64, np.int32)}
  with pytest.raises(ValueError, match=r'norm_init/bias is .* of int32'):
    pretrained.load(save(whole))
  step = arrays | {'norm_init/bias': 3}
  with pytest.raises(ValueError, match='norm_init/bias is a int, expected an'):
    pretrained.load(save(step))
  broken = arrays | {'norm_init/bias': np.full(64, np.nan, np.float32)}
  with pytest.raises(ValueError, match='norm_init/bias holds NaN'):
    pretrained.load(save(broken))
  with pytest.raises(ValueError, match='and 33 more'):
    pretrained.load(save({'norm_init': {}}))


def test_an_attack_is_refused_and_not_run(arrays, save, tmp_path):
  target = tmp_path / 'written'
  path = save({**arrays, 'extra': _Attack(target)})
  with pytest.raises(pickle.UnpicklingError, match='pathlib'):
    pretrained.load(path)
  assert not target.exists()


def test_files_of_another_format(tmp_path):
  torn = tmp_path / 'torn.safetensors'
  torn.write_bytes(b'nothing')
  with pytest.raises(ValueError, match=r'torn\.safetensors'):
    pretrained.load(str(torn))
  other = tmp_path / 'weights.pt'
  other.touch()
  with pytest.raises(ValueError, match=r"'\.pt', expected \.pkl"):
    pretrained.load(str(other))
