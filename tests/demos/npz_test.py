"""Tests for npz."""

import io
import zipfile

import numpy as np
import pytest

from serl.demos import npz


def _film(noise=0, frames=40):
  """Returns images [T, 64, 64, 3] of a square that moves over a floor."""
  images = np.full((frames, 64, 64, 3), 180, np.uint8)
  images[:, :20] = 120
  for t in range(frames):
    images[t, 10 + t // 4 : 20 + t // 4, 20:36] = (200, 50, 40)
  rng = np.random.default_rng(0)
  return images + rng.integers(0, 1 + noise, images.shape, np.uint8)


def _read(content):
  content = bytearray(content)
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    npz.check_digest(content, archive)
    names = npz.names(archive)
    methods = {i.filename: i.compress_type for i in archive.infolist()}
    return npz.read(content, archive, names), methods


def _assert_equal(given, expected):
  assert list(given) == list(expected)
  for name, array in expected.items():
    np.testing.assert_array_equal(given[name], array)
    assert given[name].dtype == array.dtype
    assert given[name].flags.writeable


def test_every_array_comes_back():
  arrays = {
    'a': np.arange(5),
    'scalar': np.float32(2.5).reshape(()),
    'empty': np.zeros((3, 0), np.float32),
    'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'flags': np.array([True, False]),
    'film': _film(),
    'noise': _film(255),
    'numbers': np.zeros((200, 100)),
  }
  found, methods = _read(npz.write(arrays))
  _assert_equal(found, arrays)
  deflated = [n for n, method in methods.items() if method]
  assert deflated == ['film.npy', 'numbers.npy']


def test_numpy_reads_it_too():
  arrays = {'film': _film(), 'a': np.arange(5)}
  with np.load(io.BytesIO(npz.write(arrays))) as found:
    for name, array in arrays.items():
      np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
  'array',
  [
    _film(),
    np.arange(40_000, dtype=np.int64),  # rows without axes
    np.zeros((30, 4, 64, 64, 3), np.uint8),  # stacks of frames
    np.full((30, 64, 64), 1000, np.uint16),  # depth
  ],
)
def test_differences_are_undone_and_smaller(array):
  assert npz.is_smaller_as_differences(array)
  before = array.copy()
  found = npz.differences(array)
  np.testing.assert_array_equal(array, before)
  assert len(npz.write({'x': found})) < array.nbytes / 4
  found = npz.undo_differences(found)
  np.testing.assert_array_equal(found, array)
  assert found.dtype == array.dtype


@pytest.mark.parametrize(
  'array', [_film(255), np.zeros((400, 100)), np.zeros((3, 3), np.uint8)]
)
def test_what_does_not_get_smaller_is_stored_as_it_is(array):
  assert not npz.is_smaller_as_differences(array)


def test_what_is_packed_is_no_more_than_it_says():
  content = npz.write({'x': np.zeros((1000, 1000))})
  assert len(content) < 50_000
  # The size in the central directory, which a reader goes by.
  at = content.rindex(b'PK\x01\x02') + 24
  smaller = content[:at] + (1000).to_bytes(4, 'little') + content[at + 4 :]
  with (
    zipfile.ZipFile(io.BytesIO(smaller)) as archive,
    pytest.raises(ValueError, match=r'x\.npy is of another size'),
  ):
    npz.read(smaller, archive, ['x'])


def test_objects_are_refused():
  content = io.BytesIO()
  np.savez(content, x=np.array([print], object))
  with (
    zipfile.ZipFile(content) as archive,
    pytest.raises(ValueError, match='objects'),
  ):
    npz.read(content.getvalue(), archive, ['x'])


def test_the_first_array_is_read_alone():
  arrays = {'header': np.arange(9, dtype=np.uint8), 'x': np.arange(5)}
  with io.BytesIO() as file:
    np.savez(file, **arrays)
    by_numpy = file.getvalue()
  for content in (npz.write(arrays), by_numpy):
    name, array = npz.read_first(content[:400])
    assert name == 'header'
    np.testing.assert_array_equal(array, arrays['header'])
    for end in (0, 20, 40, 100):
      assert npz.read_first(content[:end]) is None
    damaged = bytearray(content)
    damaged[content.index(bytes(range(9))) + 3] ^= 1
    assert npz.read_first(bytes(damaged)) is None
  assert npz.read_first(npz.write({'film': _film()})) is None
