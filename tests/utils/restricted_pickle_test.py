"""Tests of restricted_pickle."""

import collections
import datetime
import io
import os
import pathlib
import pickle
import time
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from serl.utils import restricted_pickle
from tests.utils import regular_file_test

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


def _graph(kind, depth=40):
  """Pickles a container that holds one twice, which does so, and so on."""
  held = kind([1])
  for _ in range(depth):
    held = kind((held, held))
  return pickle.dumps(held, 2)


def _keyed(graph):
  """Pickles a dict whose key is what `graph` is of."""
  return b'\x80\x02}' + graph[2:-1] + b'Ns.'


def _claim(code, width, count):
  return b'\x80\x05' + code + count.to_bytes(width, 'little') + b'abc.'


def _note(number):
  return b'\x80\x02]r' + number.to_bytes(4, 'little') + b'.'


# Containers that hold the one before, and all of them in a list.
_CHAIN = b'\x80\x04](]\x94' + b''.join(
  b'](j' + i.to_bytes(4, 'little') + b'e\x94' for i in range(3000)
)
_PAGE = b'B' + (10**6).to_bytes(4, 'little') + bytes(10**6)
_HOSTILE = {
  'a graph of tuples': _graph(tuple),
  'a graph of lists': _graph(list),
  'a key that is a graph': _keyed(_graph(tuple)),
  'a set of graphs': b'\x80\x04\x8f(' + _graph(tuple)[2:-1] + b'\x90.',
  'a note far off': _note(2**27),
  'a note very far off': _note(2**32 - 1),
  'a note below 0': b']p-1\n.',
  **{
    f'{name} of {count} bytes': _claim(code, width, count)
    for name, code, width in (
      ('bytes', pickle.BINBYTES, 4),
      ('long bytes', pickle.BINBYTES8, 8),
      ('text', pickle.BINUNICODE8, 8),
      ('array', pickle.BYTEARRAY8, 8),
      ('integer', pickle.LONG4, 4),
    )
    for count in (2**31 - 1, 2 ** (8 * width) - 1)
  },
  'an integer of a megabyte': b'\x8b' + (10**6).to_bytes(4, 'little') + _PAGE,
  'digits': b'I' + b'9' * 10**6 + b'\n.',
  'lists in lists': b']' * 10**5 + b'a' * (10**5 - 1) + b'.',
  'tuples in tuples': b')' + b'\x85' * 10**5 + b'.',
  'marks': b'(' * 10**6,
  'copies': b']' + b'2' * 10**6 + b'.',
  'notes': b'\x80\x04]' + b'\x94' * 10**6 + b'.',
  'sets': b'\x80\x04(' + b'\x8f' * 10**6 + b't.',
  'lists': b'](' + (b']' * 1000 + b'e(') * 1000 + b'e.',
  'work for nothing': b'N' + b'N0' * 10**6 + b'.',
  'many pickles': b'N.' * 10**6,
  'a chain that is met at its end first': _CHAIN + b'e.',
  'keys alike': b'}('
  + b''.join(
    b'\x8a\x0c' + ((2**61 - 1) * i).to_bytes(12, 'little') + b'N'
    for i in range(1, 30_000)
  )
  + b'u.',
  'bytes of a number': b'cbuiltins\nbytes\n\x8a\x05\0\0\0\0\x02\x85R.',
  'an array of a number': b'cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x02\x85R.',
  'copies of bytes': b'cbuiltins\nbytearray\nq\0'
  + _PAGE
  + b'q\1](h\0h\1\x85R'
  + b'h\0h\1\x85R' * 400
  + b'et.',
  'a picture that is there often': pickle.dumps(
    [np.zeros((128, 128, 3), np.uint8)] * 10_000
  ),
  'another object': pickle.dumps([1]) + pickle.dumps([2]),
  'what is elsewhere': b'\x80\x03K\x01Q.',
  'an extension': b'\x80\x02\x82\x01.',
  'too little': b'R.',
}


@pytest.mark.parametrize('name', _HOSTILE)
def test_no_more_is_done_than_the_size_of_a_file_allows(name, tmp_path):
  path = tmp_path / 'hostile.pkl'
  path.write_bytes(_HOSTILE[name])
  tracemalloc.start()
  began = time.process_time()
  try:
    with pytest.raises(pickle.UnpicklingError, match=r'hostile\.pkl'):
      restricted_pickle.load(path)
    taken = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert taken < 100 * 2**20
  # It takes far less, or, were it not refused, hours.
  assert time.process_time() - began < 20


@pytest.mark.parametrize('kind', regular_file_test.IRREGULAR)
def test_what_is_no_regular_file_is_not_opened(kind, tmp_path):
  regular_file_test.make_irregular(kind, str(tmp_path / 'a.pkl'))
  for load in (restricted_pickle.load, restricted_pickle.load_each):
    with pytest.raises(OSError, match='expected a regular file'):
      load(tmp_path / 'a.pkl')


def test_pickles_in_a_row_are_all_read():
  content = pickle.dumps([1]) + pickle.dumps({'a': np.arange(3)}, 2)
  first, second = restricted_pickle.load_each(io.BytesIO(content))
  assert first == [1]
  assert second['a'].tolist() == [0, 1, 2]


def test_what_is_no_data_is_noted_and_not_made(tmp_path):
  target = tmp_path / 'written'
  held = {
    'when': datetime.datetime(2026, 1, 1),
    'where': pathlib.Path('x'),
    'counts': collections.defaultdict(int, a=1),
    'call': _Call(os.system, f'touch {target}'),
    'objects': np.array([{}, 1], object),
    'times': np.array(['2024-01-01'], 'datetime64[D]'),
    'kind': np.float32,
    ('a', 1): 2,
    pathlib.Path('y'): 3,
  }
  held['self'] = held
  for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
    content = pickle.dumps([held, np.arange(2)], protocol)
    ((loaded, array),) = restricted_pickle.load_each(io.BytesIO(content))
    assert array.tolist() == [0, 1]
    assert loaded['counts'] == {'a': 1}
    assert loaded['a', 1] == 2
    assert restricted_pickle.foreign_names(loaded) == {
      'datetime.datetime',
      'pathlib.PosixPath',
      f'{os.system.__module__}.system',
      'numpy.ndarray of object',
      'numpy.ndarray of datetime64',
      'numpy.float32',
      'a container that holds itself',
    }
  assert not target.exists()
