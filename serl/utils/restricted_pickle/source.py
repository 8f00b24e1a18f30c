"""Reads the bytes of a file and no more than it has."""

import io
import pickle
from typing import BinaryIO

_CHUNK = 1 << 16


class Source:
  """The bytes of a file, of which no more is asked for than there is.

  `buffer` and `at`, where the next byte is in it, are there for the machine's
  loop; calls would take most of its time.
  """

  __slots__ = ('_before', '_file', 'at', 'buffer', 'size')

  def __init__(self, file: BinaryIO):
    """Initialises the source.

    Args:
      file: opened for reading bytes, at the first byte of a pickle.
    """
    self._file = file
    begin = file.tell()
    self.size = file.seek(0, io.SEEK_END) - begin
    file.seek(begin)
    self.buffer = b''
    self.at = 0
    self._before = 0  # bytes before the buffer's

  @property
  def taken(self) -> int:
    """The number of bytes that were taken."""
    return self._before + self.at

  @property
  def left(self) -> int:
    """The number of bytes that were not."""
    return self.size - self.taken

  def take_code(self) -> int:
    """Returns the next byte."""
    at = self.at
    if at == len(self.buffer):
      self.refill()
      at = 0
    self.at = at + 1
    return self.buffer[at]

  def take(self, count: int) -> bytes:
    """Returns the next bytes."""
    end = self.at + count
    if end > len(self.buffer):
      return self._take_more(count)
    taken = self.buffer[self.at : end]
    self.at = end
    return taken

  def take_with(self, width: int) -> bytes:
    """Returns bytes whose number stands before them."""
    return self.take(int.from_bytes(self.take(width), 'little'))

  def take_line(self, longest: int | None = None) -> bytes:
    """Returns the bytes before the next line's end, which is taken too."""
    parts = []
    while (end := self.buffer.find(b'\n', self.at)) < 0:
      parts.append(self.take(len(self.buffer) - self.at))
      self.refill()
    parts.append(self.take(end - self.at))
    self.at += 1
    line = b''.join(parts)
    if longest is not None and len(line) > longest:
      raise pickle.UnpicklingError(f'a line has {len(line)} characters')
    return line

  def _take_more(self, count: int) -> bytes:
    if count > self.left:
      raise pickle.UnpicklingError(
        f'it asks for {count} bytes where {self.left} are left'
      )
    # Arrays are read at once, into memory of their own.
    kept = self.buffer[self.at :]
    taken = kept + self._file.read(count - len(kept))
    if len(taken) < count:
      raise EOFError('it ends early')
    self._before, self.buffer, self.at = self.taken + count, b'', 0
    return taken

  def refill(self) -> None:
    """Reads on where all of the buffer was taken."""
    self._before, self.at = self.taken, 0
    self.buffer = self._file.read(_CHUNK)
    if not self.buffer:
      raise EOFError('it ends early')
