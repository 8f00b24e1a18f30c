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


# Of the state of a dtype S8: size, alignment and flags, at a tuple's end.
_STATE = b'K\x08K\x01K\x00t'


@pytest.mark.parametrize(
  'forged',
  [
    b'K\x08K\x01K\x3ft',  # flags: its items are objects
    b'J\xff\x00\x00\x00K\x01K\x00t',  # 255 bytes each
    b'J\xfb\xff\xff\xffK\x01K\x00t',  # -5
    b'K\x08K\x63K\x00t',
  ],
)
@pytest.mark.parametrize(
  'value', [np.array([b'abcdefgh']), np.bytes_(b'12345678')]
)
def test_a_dtype_with_a_forged_state_is_refused(value, forged):
  pickled = pickle.dumps([value], 2)
  assert pickled.count(_STATE) == 1
  (loaded,) = restricted_pickle.load(io.BytesIO(pickled))
  assert loaded == value
  with pytest.raises(pickle.UnpicklingError, match='the state'):
    restricted_pickle.load(io.BytesIO(pickled.replace(_STATE, forged)))


class _Built:
  """Pickles as a call of `function`, then as a state that is set."""

  def __init__(self, function, args, state):
    self._reduced = function, args, state

  def __reduce__(self):
    return self._reduced


def test_a_dtype_that_is_changed_after_its_array_is_refused():
  dtype = _Built(np.dtype, ('S1', False, True), (3, '|', *[None] * 3, 1, 1, 0))
  core = np.zeros(0).__reduce__()[0]
  array = _Built(
    core, (np.ndarray, (0,), b'b'), (1, (8,), dtype, False, b'8' * 8)
  )
  (loaded, _) = _load([array, dtype])
  assert loaded.tolist() == [b'8'] * 8
  pickled = pickle.dumps([array, dtype], 2)
  pickled = pickled[:-2] + b'(K\x03U\x01|NNNJ\xff\xff\x00\x00K\x01K\x00tbe.'
  with pytest.raises(pickle.UnpicklingError, match='65535'):
    restricted_pickle.load(io.BytesIO(pickled))


@pytest.mark.parametrize(
  'shape, data', [((3,), b'12'), ((1,), b'12'), ((-2,), b'12')]
)
def test_an_array_of_another_size_is_refused(shape, data):
  core = np.zeros(0).__reduce__()[0]
  dtype = np.dtype('u1')
  array = _Built(core, (np.ndarray, (0,), b'b'), (1, shape, dtype, False, data))
  with pytest.raises(pickle.UnpicklingError):
    _load([array])


def test_containers_may_hold_themselves_and_arrays_anywhere():
  row = [np.arange(2)]
  row.append((row, {'a': (np.arange(3), 'b')}))
  loaded = _load(row)
  assert loaded[1][0] is loaded
  assert loaded[1][1]['a'][0].tolist() == [0, 1, 2]
  assert type(loaded[1][1]['a'][0]) is np.ndarray
