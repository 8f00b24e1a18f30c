"""Folders that cannot be written, to test what happens then."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import subprocess
import tempfile

_NOBODY = 65534


class NoSmallDiskError(RuntimeError):
  """This machine does not let us mount a small disk."""


@contextlib.contextmanager
def unwritable() -> Iterator[pathlib.Path]:
  """Gives an empty folder that this process may read but not write.

  Permissions do not bind root, so that root becomes nobody meanwhile.
  """
  folder = pathlib.Path(tempfile.mkdtemp())
  folder.chmod(0o555)
  root = os.geteuid() == 0
  if root:
    os.seteuid(_NOBODY)
  try:
    yield folder
  finally:
    if root:
      os.seteuid(0)
    folder.rmdir()


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[pathlib.Path]:
  """Gives a folder on a disk of `size` bytes of its own.

  Raises:
    NoSmallDiskError: mounting needs root, which this process is not.
  """
  folder = tempfile.mkdtemp()
  command = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder]
  mounted = subprocess.run(command, capture_output=True, text=True, check=False)
  if mounted.returncode:
    os.rmdir(folder)
    raise NoSmallDiskError(mounted.stderr.strip())
  try:
    yield pathlib.Path(folder)
  finally:
    subprocess.run(['umount', '--lazy', folder], check=True)
    os.rmdir(folder)
