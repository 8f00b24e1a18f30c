"""Tests for archives: what hostile episode files ask for."""

import hashlib
import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from serl.demos import files
from serl.demos import npz
from serl.testing import fakes
from serl.utils import unpacking
from tests.utils import regular_file_test

_MIB = 2**20


def _npy(shape, dtype='u1', content=b''):
  """Returns an array's member: its header as it says, then `content`."""
  member = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    member, {'shape': shape, 'fortran_order': False, 'descr': f'|{dtype}'}
  )
  return member.getvalue() + content


def _write(
  path,
  schema,
  members,
  method=zipfile.ZIP_DEFLATED,
  **changes,
):
  """Writes an archive with the header of an episode, and any members.

  Its digest is missing: see `_seal`.
  """
  header = {
    'format': files.FORMAT,
    'version': files.VERSION,
    'spec': files.describe(fakes.make_state_spec()),
    'schema': schema,
    'metadata': {},
    **changes,
  }
  encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
  with zipfile.ZipFile(path, 'w', method) as archive:
    archive.writestr(
      'header.npy', _npy((len(encoded),), content=encoded.tobytes())
    )
    for name, content in members.items():
      archive.writestr(f'{name}.npy', content)


def _write_episode(path, arrays, **changes):
  members = {
    name: _npy(a.shape, a.dtype.str[1:], a.tobytes())
    for name, a in arrays.items()
  }
  _write(path, files._schema(arrays), members, **changes)


def _array(count):
  return {'shape': [count], 'dtype': 'uint8'}


def _seal(path):
  """Returns a copy of an archive that has the right digest."""
  content = path.read_bytes()
  assert content[-2:] == bytes(2)  # without a comment
  body = content[:-2] + struct.pack('<H', 64)
  sealed = path.with_name('sealed.npz')
  sealed.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
  return sealed


def _refused(path, match, without_digest=None):
  """Reads a file that is refused, and so with a right digest.

  Args:
    path: of the file, which has no digest.
    match: the error.
    without_digest: the error without a digest; the same by default.

  Returns:
    the most bytes that it took.
  """
  most = []
  for file, error in ((path, without_digest or match), (_seal(path), match)):
    tracemalloc.start()
    try:
      with pytest.raises(files.FileError, match=error):
        files.read(file)
      most.append(tracemalloc.get_traced_memory()[1])
    finally:
      tracemalloc.stop()
  return max(most)


def test_the_archives_of_these_tests_are_read_once_they_are_sealed(tmp_path):
  spec = fakes.make_state_spec()
  episode = fakes.make_episode(spec, 4)
  _write_episode(tmp_path / 'a.npz', files._flatten(episode))
  again, _ = files.read(_seal(tmp_path / 'a.npz'), spec)
  np.testing.assert_array_equal(again.action, episode.action)
  with pytest.raises(files.ChecksumError, match='checksum missing'):
    files.read(tmp_path / 'a.npz', spec)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
  path, size = tmp_path / 'a.npz', 256 * _MIB
  content = _npy((size,), content=bytes(size))
  _write(path, {'reward': _array(size)}, {'reward': content})
  assert path.stat().st_size < _MIB
  assert _refused(path, 'unpacks to 268') < 20 * _MIB


def test_a_smaller_bomb_is_not_what_its_header_says(tmp_path):
  path, size = tmp_path / 'a.npz', 100 * _MIB
  content = _npy((4,), 'f4', bytes(size))
  schema = {'reward': {'shape': [4], 'dtype': 'float32'}}
  _write(path, schema, {'reward': content})
  assert _refused(path, 'reward: unpacks to 104') < 20 * _MIB


def test_an_array_that_claims_more_than_is_there_is_refused(tmp_path):
  path = tmp_path / 'a.npz'
  schema = {'reward': _array(4)}
  _write(path, schema, {'reward': _npy((10**12,), content=bytes(4))})
  _refused(path, 'expected 1000000000000', 'checksum missing')


def test_a_directory_that_lies_of_its_sizes_is_refused(tmp_path):
  path = tmp_path / 'a.npz'
  size = 100 * _MIB
  _write(
    path, {'reward': _array(4)}, {'reward': _npy((4,), content=bytes(size))}
  )
  told = struct.pack('<L', len(_npy((4,), content=bytes(4))))
  real = struct.pack('<L', len(_npy((4,), content=bytes(size))))
  content = path.read_bytes()
  assert content.count(real) == 2
  path.write_bytes(content.replace(real, told))
  error = r'reward\.npy is of another size than it says'
  assert _refused(path, error, 'checksum missing') < 20 * _MIB


def test_members_that_overlap_are_refused(tmp_path):
  path = tmp_path / 'a.npz'
  content = _npy((_MIB,), content=np.random.default_rng(0).bytes(_MIB))
  _write(path, {}, {f'extras/{i}': content for i in range(3)})
  with zipfile.ZipFile(path) as archive:
    begins = [member.header_offset for member in archive.infolist()[1:]]
  whole = path.read_bytes()
  directory = whole.index(b'PK\x01\x02')
  ends = whole[directory:]
  # All members begin where the first does, whose bytes alone are kept.
  for begin in begins[1:]:
    ends = ends.replace(struct.pack('<L', begin), struct.pack('<L', begins[0]))
  moved = struct.pack('<L', begins[1])
  ends = ends[:-6] + moved + ends[-2:]
  path.write_bytes(whole[: begins[1]] + ends)
  assert _refused(path, 'overlap') < 20 * _MIB


@pytest.mark.parametrize(
  'method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=['bzip2', 'lzma']
)
def test_what_cannot_be_stopped_amid_its_unpacking_is_refused(tmp_path, method):
  _write(tmp_path / 'a.npz', {}, {'reward': _npy((4,))}, method)
  _refused(tmp_path / 'a.npz', 'compressed by method')


def test_too_many_members_are_refused_unread(tmp_path):
  path = tmp_path / 'a.npz'
  with zipfile.ZipFile(path, 'w') as archive:
    for i in range(10_001):
      archive.writestr(f'{i}.npy', b'')
  _refused(path, 'it has 10001 members')
  with zipfile.ZipFile(path, 'w') as archive:
    for i in range(10_000):
      archive.writestr(f'{i}{"a" * 300}', b'')
  assert _refused(path, 'its directory has') < 5 * _MIB


def test_a_member_that_is_there_twice_is_refused(tmp_path):
  with (
    pytest.warns(UserWarning, match='Duplicate'),
    zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive,
  ):
    for _ in range(2):
      archive.writestr('header.npy', _npy((1,)))
  _refused(tmp_path / 'a.npz', 'by 1 names')


def test_a_large_header_is_refused(tmp_path):
  size = 5 * _MIB
  with zipfile.ZipFile(
    tmp_path / 'a.npz', 'w', zipfile.ZIP_DEFLATED
  ) as archive:
    archive.writestr('header.npy', _npy((size,), content=bytes(size)))
  assert _refused(tmp_path / 'a.npz', 'its header has') < 5 * _MIB


@pytest.mark.parametrize(
  ('method', 'size'),
  [(zipfile.ZIP_DEFLATED, 100 * _MIB), (zipfile.ZIP_STORED, 5 * _MIB)],
  ids=['deflated', 'stored'],
)
def test_a_header_of_more_than_the_directory_says_is_refused(
  tmp_path, method, size
):
  path = tmp_path / 'a.npz'
  content = _npy((size,), content=bytes(size))
  with zipfile.ZipFile(path, 'w', method) as archive:
    archive.writestr('header.npy', content)
  whole = path.read_bytes()
  at = whole.rindex(b'PK\x01\x02') + 24  # of its size in the directory
  path.write_bytes(whole[:at] + struct.pack('<L', 1000) + whole[at + 4 :])
  error = r'header\.npy is of another size than it says'
  assert _refused(path, error) < 20 * _MIB
  with pytest.raises(files.FileError, match=error):
    files.read_header(path)


def test_no_other_directory_is_looked_at_than_is_read(tmp_path):
  """What is parsed is bounded, whatever the end of the archive says."""
  path = tmp_path / 'a.npz'
  with zipfile.ZipFile(path, 'w') as archive:
    for i in range(20_000):
      archive.writestr(f'{i:06d}{"a" * 150}', b'')
  whole = path.read_bytes()
  begin = whole.index(b'PK\x01\x02')
  size = len(whole) - 22 - begin
  body = whole[: begin + size]
  large = struct.pack(
    '<4sQ2H2L4Q', b'PK\x06\x06', 44, 45, 45, 0, 0, 1, 1, size, begin
  )
  locator = struct.pack('<4sLQL', b'PK\x06\x07', 0, len(body), 1)
  for told in (46, 2**32 - 1):
    end = struct.pack('<4s4H2LH', b'PK\x05\x06', 0, 0, 1, 1, told, 0, 0)
    path.write_bytes(body + large + locator + end)
    assert _refused(path, f'its directory has {size} bytes') < 20 * _MIB


@pytest.mark.parametrize(
  ('schema', 'match'),
  [
    ({'reward': _array(-1)}, 'reward is described as'),
    ({'reward': _array(2.5)}, 'reward is described as'),
    ({'reward': {'shape': [], 'dtype': 'uint8'}}, 'reward is described as'),
    ({'reward': 3}, 'reward is described as 3'),
    ({'reward': {'shape': [4], 'dtype': 'object'}}, "of the dtype 'object'"),
    ({'reward': {'shape': [4], 'dtype': ['u1']}}, 'of the dtype'),
    ({'reward': _array(10**30)}, 'reward: unpacks to'),
    ({'reward': _array(0)}, 'of 0 steps'),
    ({'reward': _array(4), 'action': _array(4)}, 'action: missing'),
    ({'reward': _array(4), 'action': _array(10**9)}, 'of 4 steps'),
    ({'extras/a': _array(4)}, 'expected a reward'),
    ({}, 'expected a reward'),
    ([], 'expected a reward'),
    (None, 'header describes None'),
  ],
)
def test_a_header_that_describes_no_such_arrays_is_refused(
  tmp_path, schema, match
):
  _write(tmp_path / 'a.npz', schema, {'reward': _npy((4,), content=bytes(4))})
  _refused(tmp_path / 'a.npz', match)


@pytest.mark.parametrize(
  'dtype', ['u1,' * 500_000, 'object', 'nothing', None, ['u1']]
)
def test_a_spec_of_no_such_dtypes_is_refused(tmp_path, dtype):
  path = tmp_path / 'a.npz'
  spec = files.describe(fakes.make_state_spec())
  spec['actions']['']['dtype'] = dtype
  schema, members = (
    {'reward': _array(4)},
    {'reward': _npy((4,), content=b'1234')},
  )
  _write(path, schema, members, spec=spec)
  _refused(path, 'is of the dtype')
  with pytest.raises(files.FileError, match='is of the dtype'):
    files.read_header(path)


def test_arrays_that_the_header_does_not_describe_are_refused(tmp_path):
  path = tmp_path / 'a.npz'
  _write(path, {'reward': _array(5)}, {'reward': _npy((4,), content=bytes(4))})
  _refused(path, 'its arrays are not those of its header', 'checksum missing')


@pytest.mark.parametrize(
  ('shape', 'content'),
  [((10**12, 0), b''), ((100 * _MIB,), bytes(100 * _MIB))],
  ids=['empty', 'short'],
)
def test_rows_without_end_are_not_added_up_one_by_one(tmp_path, shape, content):
  path = tmp_path / 'a.npz'
  schema = {'reward': {'shape': list(shape), 'dtype': 'uint8'}}
  members = {'reward': _npy(shape, content=content)}
  _write(path, schema, members, differences=['reward'])
  _refused(path, r'reward|discount', 'checksum missing')


def test_names_of_differences_without_end_are_compared_once(tmp_path):
  spec = fakes.make_state_spec()
  episode = fakes.make_episode(spec, 4)
  extras = {f'{i:05d}': np.zeros(4, np.uint8) for i in range(3000)}
  arrays = files._flatten(episode._replace(extras=extras))
  path = tmp_path / 'a.npz'
  names = ['extras/00000'] * 200_000
  _write_episode(path, arrays, differences=names)
  again, _ = files.read(_seal(path), spec)
  assert len(again.extras) == 3000


@pytest.mark.parametrize(
  'text',
  ['(', '{', '"', '\n  a\n b', '-' * 3000 + '1', '(' * 3000, '\0', '1' * 4000],
)
def test_a_member_without_a_description_of_its_array_is_refused(tmp_path, text):
  content = b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text.encode()
  path = tmp_path / 'a.npz'
  _write(path, {'reward': _array(4)}, {'reward': content + bytes(4)})
  _refused(path, 'reward|torn or damaged', 'checksum missing|reward')
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('header.npy', content)
  for read in (files.read, files.read_header):
    with pytest.raises(files.FileError, match='torn or damaged'):
      read(path)


def test_arrays_of_other_steps_are_refused(tmp_path):
  spec = fakes.make_state_spec()
  episode = fakes.make_episode(spec, 4)
  cut = {name: column[:4] for name, column in episode.observation.items()}
  arrays = files._flatten(episode._replace(observation=cut))
  _write_episode(tmp_path / 'a.npz', arrays)
  _refused(tmp_path / 'a.npz', 'in an episode of 4 steps')


def test_black_images_may_be_compressed():
  """A dark camera is no bomb, up to what a file may unpack to."""
  episode = 1000 * 2 * 128 * 128 * 3
  assert unpacking.is_believed(episode, episode // 1000)
  assert not unpacking.is_believed(2 * 2**30, 2 * _MIB)


def test_what_is_written_is_read_however_dark_it_is(monkeypatch):
  monkeypatch.setattr(unpacking, 'FREE_BYTES', _MIB)
  images = np.zeros((40, 128, 128, 3), np.uint8)
  content = npz.write({'front': images})
  assert unpacking.is_believed(images.nbytes, len(content))
  monkeypatch.undo()
  assert len(npz.write({'front': images})) < images.nbytes // 100


@pytest.mark.parametrize('kind', regular_file_test.IRREGULAR)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, kind):
  regular_file_test.make_irregular(kind, str(tmp_path / 'a.npz'))
  for function in (files.read, files.read_header):
    with pytest.raises(files.FileError, match='expected a regular file'):
      function(tmp_path / 'a.npz')
