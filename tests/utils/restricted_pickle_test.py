"""Tests of restricted_pickle."""

import collections
import io
import os
import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from serl.utils import restricted_pickle

DATA = {
  'arrays': [
    np.arange(6, dtype='<f4').reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype='>i2'),
    np.array(['ab', 'c']),
    np.array([b'ab']),
    np.array(True),
    np.zeros((0, 4), np.uint8),
  ],
  'scalars': (np.float32(1.5), np.bool_(True), np.int64(-3), 2, 0.5, None),
  'others': [True, 1 + 2j, b'bytes', bytearray(b'more'), 'text', {1}],
  'ordered': collections.OrderedDict(a=1),
}


class _Call:
  """Pickles as a call of `function`."""

  def __init__(self, function, *args):
    self._call = function, args

  def __reduce__(self):
    return self._call


def _load(value, protocol=pickle.DEFAULT_PROTOCOL):
  return restricted_pickle.load(io.BytesIO(pickle.dumps(value, protocol)))


def _assert_same(ours, theirs):
  if isinstance(theirs, dict):
    assert ours.keys() == theirs.keys()
    ours, theirs = list(ours.values()), list(theirs.values())
  if isinstance(theirs, (list, tuple)):
    assert type(ours) is type(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
      _assert_same(one, other)
    return
  assert type(ours) is type(theirs)
  if isinstance(theirs, (np.ndarray, np.generic)):
    assert ours.dtype == theirs.dtype
  np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(protocol, tmp_path):
  path = tmp_path / 'data.pkl'
  path.write_bytes(pickle.dumps(DATA, protocol))
  expected = pickle.loads(path.read_bytes())
  expected['ordered'] = dict(expected['ordered'])
  _assert_same(restricted_pickle.load(str(path)), expected)
  np.testing.assert_array_equal(expected['arrays'][2], [0, 1, 2])


def test_jax_arrays_become_numpys():
  (array,) = _load([jnp.arange(3)])
  assert type(array) is np.ndarray
  np.testing.assert_array_equal(array, [0, 1, 2])


def test_flax_dicts_become_dicts():
  # FrozenDict pickles as a call of itself with a dict; Flax need not be here.
  pickled = b'cflax.core.frozen_dict\nFrozenDict\n(}(S"a"\nI1\nutR.'  # {'a': 1}
  assert restricted_pickle.load(io.BytesIO(pickled)) == {'a': 1}


def test_an_attack_is_refused_named_and_not_run(tmp_path):
  target, path = tmp_path / 'written', tmp_path / 'attack.pkl'
  call = _Call(os.system, f'touch {target}')
  path.write_bytes(pickle.dumps([np.zeros(3), call]))
  with pytest.raises(pickle.UnpicklingError) as error:
    restricted_pickle.load(path)
  assert f'{os.system.__module__}.system' in str(error.value)
  assert 'attack.pkl' in str(error.value)
  assert not target.exists()
  pickle.loads(path.read_bytes())
  assert target.exists()  # it was one


@pytest.mark.parametrize(
  'value, named',
  [
    (_Call(eval, '1'), 'builtins.eval'),
    (_Call(getattr, {}, 'update'), 'builtins.getattr'),
    (_Call(np.load, 'x.npy'), 'numpy.load'),
    (pathlib.Path('x'), 'pathlib'),
    (_Call(np.ndarray, (10**6,)), 'numpy.ndarray is called'),
    (np.array([{}, 1], object), 'dtype object'),
    (np.zeros(2, [('a', 'f4')]), 'dtype'),
    (np.array(['2024-01-01'], 'datetime64[D]'), 'dtype'),
  ],
)
def test_what_is_more_than_data_is_refused(value, named):
  with pytest.raises(pickle.UnpicklingError, match=named):
    _load(value)


def test_no_name_is_reached_through_another():
  # Protocol 4 walks attributes at the dots of a name.
  pickled = b'\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.'
  with pytest.raises(pickle.UnpicklingError, match=r'ndarray\.__new__'):
    restricted_pickle.load(io.BytesIO(pickled))


@pytest.mark.parametrize('kept', [0, 1, 40, -1])
def test_a_torn_file_is_named(kept, tmp_path):
  path = tmp_path / 'torn.pkl'
  path.write_bytes(pickle.dumps(DATA)[:kept])
  with pytest.raises(pickle.UnpicklingError, match=r'torn\.pkl'):
    restricted_pickle.load(path)


def test_what_is_no_pickle_is_named(tmp_path):
  path = tmp_path / 'text.pkl'
  path.write_text('<html>not found</html>')
  with pytest.raises(pickle.UnpicklingError, match=r'text\.pkl'):
    restricted_pickle.load(path)


def test_a_dtype_with_forged_flags_is_refused():
  pickled = pickle.dumps(np.array([b'abcdefgh']), 2)
  # Of the dtype's state: size, alignment and flags, at the end of a tuple.
  state, forged = b'K\x08K\x01K\x00t', b'K\x08K\x01K\x3ft'
  assert pickled.count(state) == 1
  restricted_pickle.load(io.BytesIO(pickled))
  with pytest.raises(pickle.UnpicklingError):
    restricted_pickle.load(io.BytesIO(pickled.replace(state, forged)))
