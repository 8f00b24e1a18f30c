"""Tests for folders."""

import os

import pytest

from serl.testing import folders


def test_an_unwritable_folder_can_be_read_but_not_written():
  before = os.geteuid()
  with folders.unwritable() as folder:
    assert os.listdir(folder) == []
    with pytest.raises(PermissionError):
      (folder / 'a').write_text('a')
  assert os.geteuid() == before
  assert not folder.exists()


def test_a_small_disk_is_full_after_its_size():
  try:
    with folders.small_disk(2**16) as folder:
      (folder / 'a').write_bytes(b'0' * 2**15)
      with pytest.raises(OSError, match='No space left'):
        (folder / 'b').write_bytes(b'0' * 2**17)
  except folders.NoSmallDiskError as error:
    pytest.skip(f'cannot mount a small disk: {error}')
  assert not folder.exists()
