"""What an episode's archive unpacks to, checked before any of it is."""

from collections.abc import Mapping, Sequence
import math
import os
import re
from typing import Any, BinaryIO
import zipfile

import numpy as np

from serl.utils import unpacking

HEADER = 'header'

_NPY = '.npy'
_MAX_MEMBERS = 10_000
_MAX_HEADER = 4 * 2**20  # bytes of JSON
_SHOWN = 5  # lines of an error
# numpy's own header before an array's bytes.
_MAX_ARRAY_HEADER = 4096
# Those that can be told to stop after so many bytes.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ITEM_BYTES = {
  np.dtype(code).name: np.dtype(code).itemsize for code in '?bhilqBHILQefdgFDG'
}
_MAX_DIRECTORY = 256 * _MAX_MEMBERS  # bytes


class ArchiveError(ValueError):
  """An archive that no episode was written to."""


class StepsError(ValueError):
  """A header of arrays that have not the same steps, or none."""


def check_members(file: BinaryIO) -> None:
  """Refuses an archive of more than episodes have, by its directory alone.

  Args:
    file: of the archive, which is left at its beginning.

  Raises:
    ArchiveError: there are too many members, or one twice, compressed in
      another way than episodes are, or they unpack to more than a file of such
      a size may.
    zipfile.BadZipFile: it is damaged or torn.
  """
  size = file.seek(0, os.SEEK_END)
  # What ZipFile itself goes by: a second reading of an archive's end could be
  # led to another directory.
  end = zipfile._EndRecData(file)
  if not end:
    raise zipfile.BadZipFile('it does not end with its directory')
  directory = end[zipfile._ECD_SIZE]
  if directory > _MAX_DIRECTORY:
    raise ArchiveError(
      f'its directory has {directory} bytes, expected up to {_MAX_DIRECTORY}'
    )
  with zipfile.ZipFile(file) as archive:
    _check_bounds(archive.infolist(), size)
  file.seek(0)


def check_steps(schema: Any) -> None:
  """Refuses a header's schema that is of no arrays of one episode.

  Raises:
    ArchiveError: an array is described as none.
    StepsError: an array has other steps than the rewards, or there are none.
  """
  if not isinstance(schema, Mapping) or 'reward' not in schema:
    raise ArchiveError(
      f'its header describes {str(schema)[:100]}, expected a reward among its '
      'arrays'
    )
  for name, entry in schema.items():
    _bytes(name, entry)
  steps = schema['reward']['shape'][0]
  if not steps:
    raise StepsError('reward: no step: an episode of 0 steps')
  for name, entry in schema.items():
    rows, *rest = entry['shape']
    expected = steps + (name.partition('/')[0] == 'observation')
    if rows != expected:
      raise StepsError(
        f'{name}: shape {(rows, *rest)}, expected {(expected, *rest)} in an '
        f'episode of {steps} steps'
      )


def check_dtypes(leaves: Mapping[str, Any]) -> None:
  """Refuses a part of a header's spec with a dtype that no array has.

  Raises:
    ArchiveError: names it.
  """
  for name, entry in leaves.items():
    _item_bytes(name, entry.get('dtype') if isinstance(entry, dict) else None)


def check_schema(
  archive: zipfile.ZipFile, schema: Mapping[str, Mapping[str, Any]]
) -> None:
  """Refuses members of other sizes than the arrays of a header have.

  Args:
    archive: of which the directory alone is looked at.
    schema: that `check_steps` has checked.

  Raises:
    ArchiveError: an array is missing or too much, or has another size.
  """
  sizes = {
    member.filename.removesuffix(_NPY): member.file_size
    for member in archive.infolist()
  }
  del sizes[HEADER]
  expected = {name: _bytes(name, entry) for name, entry in schema.items()}
  lines = [f'{name}: missing' for name in sorted(set(expected) - set(sizes))]
  lines += [
    f'{name}: not expected' for name in sorted(set(sizes) - set(expected))
  ]
  lines += [
    f'{name}: unpacks to {sizes[name]} bytes, expected {expected[name]} of '
    f'{schema[name]}'
    for name in sorted(set(sizes) & set(expected))
    if not 0 <= sizes[name] - expected[name] <= _MAX_ARRAY_HEADER
  ]
  if lines:
    raise ArchiveError('; '.join(lines[:_SHOWN]))


def _check_bounds(members: Sequence[zipfile.ZipInfo], size: int) -> None:
  names = {member.filename for member in members}
  if len(members) > _MAX_MEMBERS or len(names) < len(members):
    raise ArchiveError(
      f'it has {len(members)} members by {len(names)} names, expected up to '
      f'{_MAX_MEMBERS}, each once'
    )
  for member in members:
    if member.compress_type not in _METHODS or member.flag_bits & 1:
      raise ArchiveError(
        f'{member.filename} is encrypted or compressed by method '
        f'{member.compress_type}, expected one of {_METHODS}'
      )
    is_header = member.filename == HEADER + _NPY
    if is_header and member.file_size > _MAX_HEADER:
      raise ArchiveError(
        f'its header has {member.file_size} bytes, expected up to {_MAX_HEADER}'
      )
  packed = sum(member.compress_size for member in members)
  unpacked = sum(member.file_size for member in members)
  if packed > size:
    raise ArchiveError(
      f'its members have {packed} bytes in a file of {size}: they overlap'
    )
  if not unpacking.is_believed(unpacked, size):
    raise ArchiveError(
      f'it unpacks to {unpacked} bytes, expected up to {unpacking.limit(size)} '
      f'of a file of {size}'
    )


def _bytes(name: str, entry: Any) -> int:
  """Returns how many bytes an array of a header has."""
  shape = entry.get('shape') if isinstance(entry, Mapping) else None
  if not (
    isinstance(shape, list)
    and 0 < len(shape) <= 32
    and all(type(side) is int and side >= 0 for side in shape)
  ):
    raise ArchiveError(f'{name} is described as {str(entry)[:100]}')
  return math.prod(shape) * _item_bytes(name, entry.get('dtype'))


def _item_bytes(name: str, dtype: Any) -> int:
  # numpy gives text names that it does not read, such as 'str96'.
  if not isinstance(dtype, str):
    raise ArchiveError(f'{name} is of the dtype {dtype!r:.40}')
  if text := re.fullmatch(r'(?:str|bytes)(\d{1,9})', dtype):
    return int(text[1]) // 8
  if dtype not in _ITEM_BYTES:
    raise ArchiveError(f'{name} is of the dtype {str(dtype)[:40]!r}')
  return _ITEM_BYTES[dtype]
