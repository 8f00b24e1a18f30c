"""Tests for folders."""

import os

import pytest

from serl.demos import folders


def test_a_folder_appears_when_all_went_well(tmp_path):
  with folders.new(tmp_path / 'a' / 'b') as unfinished:
    (unfinished / 'x').write_text('hello')
    assert not (tmp_path / 'a' / 'b').exists()
  assert (tmp_path / 'a' / 'b' / 'x').read_text() == 'hello'
  assert os.listdir(tmp_path / 'a') == ['b']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_one_that_failed(tmp_path, error):
  with pytest.raises(error), folders.new(tmp_path / 'a') as unfinished:
    (unfinished / 'x').write_text('hello')
    raise error
  assert os.listdir(tmp_path) == []


def test_never_overwrites(tmp_path):
  (tmp_path / 'a').mkdir()
  with (
    pytest.raises(FileExistsError, match='a exists'),
    folders.new(tmp_path / 'a'),
  ):
    pass
  # One that came meanwhile is not replaced either.
  with pytest.raises(OSError), folders.new(tmp_path / 'b'):
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'x').write_text('hello')
  assert sorted(os.listdir(tmp_path)) == ['a', 'b']
  assert os.listdir(tmp_path / 'b') == ['x']
