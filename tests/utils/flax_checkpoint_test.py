"""Tests of flax_checkpoint.

Flax is not installed here: its files are written below as it writes them. The
reader was also run on what the real one saved of a train state with SERL's
classifier, once with `flax_use_orbax_checkpointing` and once without, by flax
0.7.0 (orbax 0.2.7), 0.8.2 (0.5.7), 0.8.3 (0.5.20), 0.8.5 (0.5.16 and 0.6.4),
0.10.2 (0.10.3), 0.10.7 (0.11.39) and 0.12.12 (0.12.8): all arrays were the
same, whole and in chunks.
"""

import json
import os
import pickle

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import orbax.checkpoint as ocp
import pytest

from serl.utils import flax_checkpoint

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([0.5, -1.5], jnp.bfloat16)


def _array(array, code=1):
  content = (array.shape, array.dtype.name, array.tobytes())
  return msgpack.ExtType(code, msgpack.packb(content))


def _chunks(array, size):
  flat = array.reshape(-1)
  parts = [flat[i : i + size] for i in range(0, flat.size, size)]
  return {
    '__msgpack_chunked_array__': True,
    'shape': {str(i): side for i, side in enumerate(array.shape)},
    'chunks': {str(i): _array(part) for i, part in enumerate(parts)},
  }


def _pack(kernel):
  """Returns a train state as flax writes it."""
  adam = {'count': _array(np.int32(7), code=3), 'mu': {'bias': _array(BIAS)}}
  params = {'Dense_0': {'kernel': kernel, 'bias': _array(BIAS)}}
  state = {'step': 7, 'params': params, 'opt_state': {'0': adam, '1': {}}}
  return msgpack.packb(state, strict_types=True)


def _save_by_orbax(path, **state):
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
    checkpointer.save(path, state)


def _check(params):
  assert params.keys() == {'Dense_0/kernel', 'Dense_0/bias'}
  for name, expected in (('kernel', KERNEL), ('bias', BIAS)):
    found = params[f'Dense_0/{name}']
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('kernel', [_array(KERNEL), _chunks(KERNEL, 4)])
def test_reads_msgpack(tmp_path, kernel):
  path = tmp_path / 'checkpoint_100'
  path.write_bytes(_pack(kernel))
  _check(flax_checkpoint.load_params(path))
  _check(flax_checkpoint.load_params(tmp_path))


def test_reads_msgpack_in_the_folder_of_an_older_orbax(tmp_path):
  path = tmp_path / 'checkpoint_100'
  path.mkdir()
  (path / 'checkpoint').write_bytes(_pack(_array(KERNEL)))
  (path / '_METADATA').write_text('{}')
  _check(flax_checkpoint.load_params(path))
  _check(flax_checkpoint.load_params(tmp_path))


def test_reads_an_orbax_folder_from_another_device(tmp_path):
  path = tmp_path / 'checkpoint_100'
  dense = {'kernel': jnp.asarray(KERNEL), 'bias': jnp.asarray(BIAS)}
  _save_by_orbax(path, step=7, params={'Dense_0': dense}, opt_state=[{}, ()])
  devices = path / '_sharding'
  here = str(jax.devices()[0])
  assert here in devices.read_text()
  devices.write_text(devices.read_text().replace(here, 'cuda:3'))
  _check(flax_checkpoint.load_params(path))
  _check(flax_checkpoint.load_params(tmp_path))


def test_takes_the_last_that_is_whole(tmp_path):
  (tmp_path / 'checkpoint_9').write_bytes(b'older')
  (tmp_path / 'checkpoint_10').write_bytes(_pack(_array(KERNEL)))
  (tmp_path / 'checkpoint_11.orbax-checkpoint-tmp-5').mkdir()
  _check(flax_checkpoint.load_params(tmp_path))


def test_refuses_a_torn_file(tmp_path):
  path = tmp_path / 'checkpoint_100'
  whole = _pack(_array(KERNEL))
  for end in range(0, len(whole), 5):
    path.write_bytes(whole[:end])
    with pytest.raises(flax_checkpoint.FlaxCheckpointError, match='torn, or'):
      flax_checkpoint.load_params(path)
  path.write_bytes(whole + b'0')
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match='ends before'):
    flax_checkpoint.load_params(path)


def test_refuses_a_torn_folder(tmp_path):
  path = tmp_path / 'checkpoint_100'
  _save_by_orbax(path, params={'kernel': KERNEL})
  (path / 'manifest.ocdbt').unlink()
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match='torn, or'):
    flax_checkpoint.load_params(path)
  (path / '_METADATA').unlink()
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match='torn, or'):
    flax_checkpoint.load_params(tmp_path)


class _Attack:
  """Makes a folder when it is unpickled."""

  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return os.mkdir, (self._path,)


def _params(value):
  return msgpack.packb({'params': value})


def _extension(code, *content):
  return _params(msgpack.ExtType(code, msgpack.packb(content)))


@pytest.mark.parametrize(
  'content, message',
  [
    (b'PK\x03\x04', 'torn, or no checkpoint'),
    (json.dumps({'params': 1}).encode(), 'torn, or no checkpoint'),
    (msgpack.packb({'model': {}}), r"holds \['model'\], expected 'params'"),
    (_params({'a': [1]}), 'max_array_len'),
    (b'\x81\xa6params\xdf\xff\xff\xff\xff', 'max_map_len'),
    (b'\x81\xa6params' + b'\x81\xa1a' * 5000 + b'\xc0', 'torn, or no'),
    (b'\x81\xa6params' + b'\x81\xa1a' * 900 + b'\xc0', 'nested deeper'),
    (_extension(1, [1], 'object', b'12345678'), "dtype b'object', which is"),
    (_extension(1, [2**40], 'int8', b'1'), 'cannot reshape'),
    (_extension(4, 'a'), 'extension type 4, which is refused'),
    (_params({'a': '//GDAPlaceholder:a'}), "a is '//GDA.*expected an array"),
  ],
)
def test_refuses_other_files(tmp_path, content, message):
  path = tmp_path / 'checkpoint_100'
  path.write_bytes(content)
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match=message):
    flax_checkpoint.load_params(path)


def test_no_pickle_is_opened(tmp_path):
  path = tmp_path / 'checkpoint_100'
  path.write_bytes(pickle.dumps(_Attack(str(tmp_path / 'attacked'))))
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match='torn, or'):
    flax_checkpoint.load_params(path)
  assert not (tmp_path / 'attacked').exists()


def test_refuses_other_folders(tmp_path):
  (tmp_path / 'notes.txt').write_text('')
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match=r'notes\.txt'):
    flax_checkpoint.load_params(tmp_path)
  with pytest.raises(FileNotFoundError, match='checkpoint_STEP'):
    flax_checkpoint.load_params(tmp_path / 'absent')
  _save_by_orbax(tmp_path / 'checkpoint_1', model={'kernel': KERNEL})
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match="'model'"):
    flax_checkpoint.load_params(tmp_path)


@pytest.mark.parametrize(
  'content, message',
  [
    (
      _params({str(i): {str(j): {} for j in range(400)} for i in range(400)}),
      'more than 100000 values',
    ),
    (b'\x81\xa6params\xdb\xff\xff\xff\xff', 'torn, or'),
    (b'\x82\xa1a\xc6\xff\xff\xff\xff\xa6params\x80', 'torn, or'),
    (
      _params(
        {
          'a': {
            '__msgpack_chunked_array__': True,
            'shape': _array(KERNEL),
            'chunks': _array(KERNEL),
          }
        }
      ),
      'torn, or',
    ),
  ],
)
def test_no_more_is_made_than_the_file_holds(tmp_path, content, message):
  (tmp_path / 'checkpoint_1').write_bytes(content)
  with pytest.raises(flax_checkpoint.FlaxCheckpointError, match=message):
    flax_checkpoint.load_params(tmp_path)


def test_a_folder_that_describes_more_than_it_holds_is_refused(tmp_path):
  path = tmp_path / 'checkpoint_1'
  kernel = np.zeros((2**14, 2**12), np.float32)  # 256 MiB, all alike
  _save_by_orbax(path, params={'kernel': kernel})
  with pytest.raises(
    flax_checkpoint.FlaxCheckpointError, match='describes arrays of 268'
  ):
    flax_checkpoint.load_params(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
  os.mkfifo(tmp_path / 'checkpoint_1')
  with pytest.raises(OSError, match='expected a regular file'):
    flax_checkpoint.load_params(tmp_path)
  _save_by_orbax(tmp_path / 'checkpoint_2', params={'kernel': KERNEL})
  os.mkfifo(tmp_path / 'checkpoint_2' / 'pipe')
  with pytest.raises(OSError, match='expected a regular file'):
    flax_checkpoint.load_params(tmp_path)
