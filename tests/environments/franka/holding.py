"""A process that has a file open."""

from collections.abc import Iterator
import contextlib
import os
import subprocess
import sys

_CODE = 'import sys; file = open(sys.argv[1]); print("open"); sys.stdin.read()'


@contextlib.contextmanager
def process(path: str | os.PathLike) -> Iterator[subprocess.Popen]:
  """Gives a process that has the file at a path open."""
  with subprocess.Popen(
    [sys.executable, '-u', '-c', _CODE, path],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  ) as held:
    assert held.stdout.readline() == 'open\n'
    yield held
    held.stdin.close()
