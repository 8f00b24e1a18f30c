"""Opens regular files alone: a pipe would wait, a device would never end."""

import errno
import os
import pathlib
import stat
from typing import BinaryIO

_KINDS = {
  stat.S_IFDIR: 'a folder',
  stat.S_IFIFO: 'a pipe (FIFO)',
  stat.S_IFSOCK: 'a socket',
  stat.S_IFCHR: 'a device',
  stat.S_IFBLK: 'a device',
}


class IrregularFileError(OSError):
  """A path at which there is something else than a regular file."""


def open_bytes(path: str | os.PathLike) -> BinaryIO:
  """Opens a regular file for reading bytes; never waits.

  Raises:
    FileNotFoundError: nothing is there, or a link that leads nowhere.
    IrregularFileError: a folder, a pipe, a socket or a device is there.
    OSError: the file cannot be opened.
  """
  try:
    # A pipe without a writer is opened at once, and is closed unread.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
  except OSError as error:
    raise _explained(path, error) from error
  try:
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
      raise _irregular(path, kind)
    return os.fdopen(descriptor, 'rb')
  except BaseException:
    os.close(descriptor)
    raise


def check(path: str | os.PathLike) -> None:
  """Raises what `open_bytes` would, for a library that opens the path."""
  open_bytes(path).close()


def check_folder(folder: str | os.PathLike) -> int:
  """Checks every file below a folder, for a library that reads the folder.

  Returns:
    the bytes of all files.

  Raises:
    OSError: see `open_bytes`.
  """
  size = 0
  for root, _, names in os.walk(folder):
    for name in names:
      path = os.path.join(root, name)
      with open_bytes(path) as file:
        size += os.fstat(file.fileno()).st_size
  return size


def _irregular(path: str | os.PathLike, kind: int) -> IrregularFileError:
  return IrregularFileError(
    f'{path}: this is {_KINDS.get(kind, "something else")}, expected a regular '
    'file; nothing else is opened'
  )


def _explained(path: str | os.PathLike, error: OSError) -> OSError:
  """Returns the error of an `open` that failed, in words for the user."""
  path = pathlib.Path(path)
  if path.is_symlink() and error.errno in (errno.ENOENT, errno.ELOOP):
    return FileNotFoundError(
      f'{path}: a link to {os.readlink(path)}, where no file is; correct the '
      'link, or remove it'
    )
  # A socket and a device without a driver.
  if error.errno in (errno.ENXIO, errno.ENODEV):
    return _irregular(path, stat.S_IFMT(os.stat(path).st_mode))
  return error
