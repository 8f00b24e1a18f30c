"""Tests for regular_file."""

import os
import socket

import pytest

from serl.utils import regular_file


def make_irregular(kind, path):
  """Puts something that is no regular file at `path`."""
  if kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'folder':
    os.mkdir(path)
  elif kind == 'socket':
    # A socket's name is short; the folder's may not be.
    with socket.socket(socket.AF_UNIX) as bound:
      folder = os.getcwd()
      os.chdir(os.path.dirname(path))
      try:
        bound.bind(os.path.basename(path))
      finally:
        os.chdir(folder)
  elif kind == 'device':
    os.symlink('/dev/zero', path)
  elif kind == 'pipe behind a link':
    os.mkfifo(f'{path}.fifo')
    os.symlink(f'{path}.fifo', path)


IRREGULAR = ('pipe', 'folder', 'socket', 'device', 'pipe behind a link')


@pytest.mark.parametrize('kind', IRREGULAR)
def test_what_is_no_regular_file_is_named_and_not_waited_for(kind, tmp_path):
  path = str(tmp_path / 'a.npz')
  make_irregular(kind, path)
  named = {'pipe behind a link': 'pipe'}.get(kind, kind)
  for function in (regular_file.open_bytes, regular_file.check):
    with pytest.raises(
      regular_file.IrregularFileError, match=rf'a\.npz: this is a {named}'
    ):
      function(path)


def test_a_link_leads_to_its_file_or_is_named(tmp_path):
  (tmp_path / 'file').write_bytes(b'content')
  link, dangling, circle = (tmp_path / n for n in ('link', 'gone', 'circle'))
  link.symlink_to(tmp_path / 'file')
  with regular_file.open_bytes(link) as file:
    assert file.read() == b'content'
  dangling.symlink_to('nowhere')
  circle.symlink_to('circle')
  for path in (dangling, circle):
    with pytest.raises(FileNotFoundError, match=r'a link to .*, where no file'):
      regular_file.open_bytes(path)
  with pytest.raises(FileNotFoundError, match='No such file'):
    regular_file.open_bytes(tmp_path / 'absent')


def test_a_folder_is_checked_through(tmp_path):
  (tmp_path / 'a').write_bytes(bytes(3))
  (tmp_path / 'b').mkdir()
  (tmp_path / 'b' / 'c').write_bytes(bytes(4))
  assert regular_file.check_folder(tmp_path) == 7
  os.mkfifo(tmp_path / 'b' / 'd')
  with pytest.raises(
    regular_file.IrregularFileError, match='d: this is a pipe'
  ):
    regular_file.check_folder(tmp_path)
