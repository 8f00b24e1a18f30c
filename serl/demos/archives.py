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
_MAX_MEMBERS = 1000
_MAX_HEADER = 4 * 2**20  # bytes of JSON
_SHOWN = 5  # lines of an error
# numpy's own header before an array's bytes.
_MAX_ARRAY_HEADER = 4096
# Those that can be told to stop after so many bytes.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ITEM_BYTES = {
  np.dtype(code).name: np.dtype(code).itemsize for code in '?bhilqBHILQefdgFDG'
}
# At the end of an archive without a comment: its mark, three numbers, how many
# members there are, how many bytes their directory has and where it is.
_END = 22
_END_MARK = b'PK\x05\x06'
_MAX_DIRECTORY = 1024 * _MAX_MEMBERS  # bytes


class ArchiveError(ValueError):
  """An archive that no episode was written to."""


def demand_bounded(file: BinaryIO) -> None:
  """Refuses an archive of more than episodes have, by its directory alone.

  Raises:
    ArchiveError: there are too many members, or one twice, compressed in
      another way than episodes are, or they unpack to more than a file of such
      a size may.
    zipfile.BadZipFile: it is damaged or torn.
  """
  size = file.seek(0, os.SEEK_END)
  file.seek(max(0, size - _END))
  end = file.read(_END)
  if end[:4] != _END_MARK:
    raise zipfile.BadZipFile('it does not end with its directory')
  directory = int.from_bytes(end[12:16], 'little')
  # Files above 4 GiB have their numbers elsewhere, and this at its most.
  if _MAX_DIRECTORY < directory < 2**32 - 1:
    raise ArchiveError(
      f'its directory has {directory} bytes, expected up to {_MAX_DIRECTORY}'
    )
  with zipfile.ZipFile(file) as archive:
    _demand_bounded(archive.infolist(), size)
  file.seek(0)


def read_arrays(
  archive: zipfile.ZipFile, schema: Mapping[str, Mapping[str, Any]]
) -> dict[str, np.ndarray]:
  """Returns the arrays of an archive, which are those of a header's schema.

  Nothing is unpacked before all sizes agree, and no memory taken but for what
  the schema has.

  Raises:
    ArchiveError: an array is missing or too much, or has another size, dtype
      or shape.
    EOFError, zipfile.BadZipFile: the archive is damaged.
  """
  _demand_sizes(archive, schema)
  return {
    name: _read_array(archive, name, entry) for name, entry in schema.items()
  }


def demand_steps(schema: Mapping[str, Any]) -> None:
  """Refuses a header's schema that is of no arrays of one episode.

  Raises:
    ArchiveError: an array is described as none, or has other steps.
  """
  steps = 0
  for name in sorted(schema, key=lambda name: name != 'reward'):
    _bytes(name, schema[name])
    steps = schema[name]['shape'][0] if name == 'reward' else steps
    rows = steps + (name.partition('/')[0] == 'observation')
    if schema[name]['shape'][0] != rows:
      raise ArchiveError(
        f'{name} has the shape {schema[name]["shape"]}, expected [{rows}, ...] '
        f'of {steps} steps'
      )
  if not steps:
    raise ArchiveError(f'it describes the arrays {sorted(schema)} of no step')


def _demand_sizes(
  archive: zipfile.ZipFile, schema: Mapping[str, Mapping[str, Any]]
) -> None:
  """Refuses members of other sizes than the arrays of a header have."""
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
  for name in sorted(set(sizes) & set(expected)):
    if not 0 <= sizes[name] - expected[name] <= _MAX_ARRAY_HEADER:
      lines.append(
        f'{name}: unpacks to {sizes[name]} bytes, expected {expected[name]} of '
        f'{schema[name]}'
      )
  if lines:
    raise ArchiveError('; '.join(lines[:_SHOWN]))


def may_compress(unpacked: int, packed: int) -> bool:
  """Returns whether what was compressed so far would be read again."""
  return unpacked <= unpacking.limit(packed)


def _demand_bounded(members: Sequence[zipfile.ZipInfo], size: int) -> None:
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
  if unpacked > unpacking.limit(size):
    raise ArchiveError(
      f'it unpacks to {unpacked} bytes, expected up to {unpacking.limit(size)} '
      f'of a file of {size}'
    )


def _read_array(
  archive: zipfile.ZipFile, name: str, entry: Mapping[str, Any]
) -> np.ndarray:
  with archive.open(name + _NPY) as member:
    read_header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(member)]
    shape, is_fortran, dtype = read_header(member)
    if list(shape) != entry['shape'] or dtype.name != entry['dtype']:
      raise ArchiveError(
        f'{name}: {dtype.name} {list(shape)}, expected {entry["dtype"]} '
        f'{entry["shape"]}'
      )
    array = np.empty(shape, dtype, order='F' if is_fortran else 'C')
    content = array.reshape(-1, order='A').view(np.uint8)
    if member.readinto(content) != len(content) or member.read(1):
      raise EOFError(f'{name} does not have {len(content)} bytes')
    return array


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
