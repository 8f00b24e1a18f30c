"""An index of a folder of episodes, by which a log of many opens at once.

It is a cache and no more: a line for each file, which counts as long as the
file has the size and the time of its last change that stand there. What is
missing, stale or torn is read from the files again. A line is the checksum of
what follows it and a list in JSON: the file's name and the fields of `Entry`.
"""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import NamedTuple
import zlib

from absl import logging

NAME = 'index.jsonl'


class Entry(NamedTuple):
  """A file of the folder.

  Fields:
    size: of the file, bytes.
    changed: last, ns.
    spec: a digest of that which its episode fits.
    length: of the episode, steps.
    columns: names of the episode's extras that are not just zeros, or of all
      where that is not known.
  """

  size: int
  changed: int
  spec: str
  length: int
  columns: list[str]


def read(folder: pathlib.Path) -> tuple[dict[str, Entry], bool]:
  """Returns the entries by the files' names, and whether the index is whole.

  How many lines are unreadable is logged.
  """
  try:
    content = (folder / NAME).read_bytes()
  except OSError:
    return {}, False
  entries, unreadable = {}, 0
  for line in content.splitlines():
    try:
      checksum, text = line.split(b' ', 1)
      if int(checksum, 16) != zlib.crc32(text):
        raise ValueError('another checksum')
      name, *fields = json.loads(text)
      entries[name] = Entry(*fields)
    except (ValueError, TypeError):
      unreadable += 1
  if unreadable:
    logging.warning(
      '%s: %d lines cannot be read; their files are read instead.',
      folder / NAME,
      unreadable,
    )
  return entries, not unreadable


def append(folder: pathlib.Path, name: str, entry: Entry) -> None:
  """Adds a file to the index; what it cannot add is only read again."""
  try:
    with open(folder / NAME, 'ab') as file:
      # What a killed process has left unfinished would take this line with it.
      file.write(b'\n' * _ends_amid_a_line(folder) + _line(name, entry))
  except OSError as error:
    logging.warning('%s: %s', folder / NAME, error.strerror)


def write(folder: pathlib.Path, entries: Mapping[str, Entry]) -> None:
  """Writes the whole index; what it cannot write is only read again."""
  temporary = folder / f'.{NAME}.{os.getpid()}.tmp'
  try:
    temporary.write_bytes(b''.join(_line(*item) for item in entries.items()))
    os.replace(temporary, folder / NAME)
  except OSError as error:
    logging.warning('%s: %s', folder / NAME, error.strerror)


def _line(name: str, entry: Entry) -> bytes:
  text = json.dumps([name, *entry]).encode()
  return b'%08x %s\n' % (zlib.crc32(text), text)


def _ends_amid_a_line(folder: pathlib.Path) -> bool:
  with open(folder / NAME, 'rb') as file:
    if not file.seek(0, os.SEEK_END):
      return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b'\n'
