"""Tests for damaged."""

import os

from serl.utils import damaged


def _lost(folder, content=b'x'):
  path = folder / 'part' / 'file'
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(content)
  return path


def test_moves_and_never_overwrites(tmp_path, caplog):
  for content in (b'a', b'b', b'c'):
    damaged.set_aside(_lost(tmp_path, content), tmp_path, 'torn')
  aside = tmp_path / 'damaged' / 'part'
  assert {p.name: p.read_bytes() for p in aside.iterdir()} == {
    'file': b'a',
    'file.1': b'b',
    'file.2': b'c',
  }
  assert not os.listdir(tmp_path / 'part')
  assert damaged.count(tmp_path, 'part/*') == 3
  assert damaged.count(tmp_path, 'other/*') == 0
  assert [r.levelname for r in caplog.records] == ['ERROR'] * 3
  assert 'part/file: torn; set aside as damaged/part/file.2' in caplog.text


def test_what_cannot_be_moved_is_told(tmp_path, caplog):
  path = _lost(tmp_path)
  path.unlink()
  damaged.set_aside(path, tmp_path, 'gone')
  assert 'part/file: gone; not used, and not moved' in caplog.text


def test_a_link_keeps_the_file(tmp_path):
  path = _lost(tmp_path)
  damaged.set_aside(path, tmp_path, 'torn', os.link)
  assert path.exists()
  assert (tmp_path / 'damaged' / 'part' / 'file').samefile(path)


def test_reasons_are_followed_from_now_on(tmp_path):
  damaged.set_aside(_lost(tmp_path), tmp_path, 'first')
  reasons = damaged.Reasons(tmp_path)
  assert reasons.poll() == []
  damaged.set_aside(_lost(tmp_path), tmp_path, 'second')
  with open(tmp_path / 'damaged' / 'reasons.txt', 'ab') as file:
    file.write(b'\xff\nunfinished')
  first, second = reasons.poll()
  assert first.startswith('part/file: second; set aside as ')
  assert second == '\ufffd'
  assert reasons.poll() == []
