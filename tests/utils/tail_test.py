"""Tests of the follower of a file of lines."""

from serl.utils import tail


def test_each_line_comes_once_and_whole(tmp_path):
  path = tmp_path / 'lines.txt'
  followed = tail.Tail(path)
  assert followed.poll() == []
  with open(path, 'wb', buffering=0) as file:
    file.write(b'one\n\ntw')
    assert followed.poll() == [b'one', b'']
    assert followed.poll() == []
    file.write(b'o\nthree\n')
  assert followed.poll() == [b'two', b'three']
  assert tail.Tail(path, offset=5).poll() == [b'two', b'three']
