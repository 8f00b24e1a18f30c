"""Follows a file of lines that another process writes."""

import os
import pathlib


class Tail:
  """Returns each line once, when its end has come."""

  def __init__(self, path: str | os.PathLike, offset: int = 0):
    """Initialises the tail; the file need not exist yet.

    Args:
      path: of the file.
      offset: where to begin, bytes.
    """
    self._path = pathlib.Path(path)
    self._offset = offset

  def poll(self) -> list[bytes]:
    """Returns the lines since the last call; an unfinished line waits."""
    if not self._path.exists():
      return []
    with open(self._path, 'rb') as file:
      file.seek(self._offset)
      *lines, unfinished = file.read().split(b'\n')
      self._offset = file.tell() - len(unfinished)
    return lines
