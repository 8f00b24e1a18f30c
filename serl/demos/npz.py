"""Arrays as an .npz archive that ends in a digest of all bytes before it.

The digest is the archive's comment, so that numpy and zip tools read what
stands in it. Large arrays that shrink to a quarter by it are deflated: others
are read faster as they are. Integers, such as images, are first replaced by
their differences from row to row: where a camera stands still most are 0, which
halves bytes and time once more.
"""

from collections.abc import Collection, Iterable, Mapping
import hashlib
import io
import math
import struct
import zipfile
import zlib

import numpy as np

from serl.utils import unpacking

SUFFIX = '.npy'  # of the name of an array in an archive
_DIGEST_BYTES = 64  # sha256 in hexadecimal digits
_SMALL = 2**16  # bytes of an array that is never deflated
_SAMPLE_ROWS = 4  # or more, of small ones
_PAYS = 0.25  # of the size that an array may have once it is deflated
_LEVEL = 3
# A zip's local header: signature, version, flags, method, time, date, checksum,
# both sizes, lengths of the name and of the extra field.
_LOCAL = struct.Struct('<4s5H3I2H')
_ZIP64 = 0xFFFFFFFF  # in a size's place: it is in the extra field
_NUMPY_HEADER_BYTES = 2**12
_WIDE = 2**7  # numbers in a row, from which on a loop over rows is faster


class DigestError(ValueError):
  """An archive whose bytes are not those that were written."""


def is_smaller_as_differences(array: np.ndarray) -> bool:
  """Returns whether to store an array's differences, by a sample of it."""
  return (
    array.dtype.kind in 'iu'
    and array.nbytes >= _SMALL
    and _shrinks(differences(_sample(array))[1:])
  )


def differences(array: np.ndarray) -> np.ndarray:
  """Returns the first row and the differences from row to row, modulo 2^n."""
  found = array.copy()
  np.subtract(array[1:], array[:-1], out=found[1:])
  return found


def undo_differences(array: np.ndarray) -> np.ndarray:
  """Returns what `differences` was given for what it returned."""
  if array.size < len(array) * _WIDE:
    return np.add.accumulate(array, axis=0, dtype=array.dtype)
  found = np.empty(array.shape, array.dtype)
  found[:1] = array[:1]
  rows = found.reshape(len(found), -1)
  changes = array.reshape(len(array), -1)[1:]
  for before, row, change in zip(rows[:-1], rows[1:], changes):
    np.add(before, change, out=row)
  return found


def write(arrays: Mapping[str, np.ndarray]) -> bytes:
  """Returns the archive of arrays, in their order."""
  unpacked = sum(array.nbytes for array in arrays.values())
  content = _write(arrays, may_deflate=True)
  # Black images shrink further than a reader believes.
  if not unpacking.is_believed(unpacked, len(content)):
    content = _write(arrays, may_deflate=False)
  return content


def _write(arrays: Mapping[str, np.ndarray], may_deflate: bool) -> bytes:
  content = io.BytesIO()
  with zipfile.ZipFile(content, 'w') as archive:
    for name, array in arrays.items():
      member = io.BytesIO()
      np.lib.format.write_array(member, array, allow_pickle=False)
      is_large = array.nbytes >= _SMALL
      deflated = may_deflate and is_large and _shrinks(_sample(array))
      archive.writestr(
        zipfile.ZipInfo(name + SUFFIX),
        member.getbuffer(),
        zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED,
        _LEVEL,
      )
    archive.comment = bytes(_DIGEST_BYTES)
  body = content.getbuffer()[:-_DIGEST_BYTES]
  return bytes(body) + hashlib.sha256(body).hexdigest().encode()


def check_digest(content: bytearray, archive: zipfile.ZipFile) -> None:
  """Checks that an archive is the one that was written.

  Args:
    content: of the archive.
    archive: opened on it.

  Raises:
    DigestError: it is another one, or has no digest.
    ValueError: it ends early.
  """
  if 0 < len(archive.comment) < _DIGEST_BYTES:
    raise ValueError('it ends amid its digest')
  body = memoryview(content)[:-_DIGEST_BYTES]
  checksum = hashlib.sha256(body).hexdigest()
  if archive.comment != checksum.encode():
    given = archive.comment.decode('ascii', 'replace') or 'missing'
    raise DigestError(f'checksum {given}, expected {checksum}')


def names(archive: zipfile.ZipFile) -> list[str]:
  """Returns the names of the arrays in an archive."""
  return [name.removesuffix(SUFFIX) for name in archive.namelist()]


def read(
  content: bytearray,
  archive: zipfile.ZipFile,
  wanted: Iterable[str],
  as_differences: Collection[str] = (),
) -> dict[str, np.ndarray]:
  """Returns arrays by their names; compares no checksum.

  Args:
    content: of the archive; large arrays may stay in it.
    archive: opened on it.
    wanted: names of arrays that are in it.
    as_differences: of them, which are stored so.

  Raises:
    ValueError, KeyError, TypeError, struct.error, zlib.error: the bytes of the
      archive are damaged.
  """
  arrays = {}
  for name in wanted:
    array = parse(_unpack(content, archive.getinfo(name + SUFFIX)))
    if name in as_differences:
      array = undo_differences(array)
    flags = array.flags
    is_own = array.nbytes >= _SMALL and flags.writeable and flags.aligned
    arrays[name] = array if is_own else array.copy()
  return arrays


def read_checked(
  content: bytearray, archive: zipfile.ZipFile, name: str
) -> np.ndarray:
  """Returns one array, whose checksum in the archive is compared.

  Args:
    content: of the archive.
    archive: opened on it.
    name: of an array that is in it.

  Raises:
    ValueError, KeyError, struct.error, zlib.error: its bytes are damaged.
  """
  member = archive.getinfo(name + SUFFIX)
  found = _unpack(content, member)
  if zlib.crc32(found) != member.CRC:
    raise ValueError(f'{member.filename} has another checksum')
  return parse(found)


def read_first(start: bytes) -> tuple[str, np.ndarray] | None:
  """Returns name and content of the first array, None if it is not that easy.

  It is as cheap as can be: of many archives the first arrays are read.

  Args:
    start: the first bytes of an archive.
  """
  if len(start) < _LOCAL.size:
    return None
  signature, _, flags, method, _, _, checksum, size, _, name_length, extra = (
    _LOCAL.unpack_from(start)
  )
  begin = _LOCAL.size + name_length
  if signature != b'PK\x03\x04' or flags or method != zipfile.ZIP_STORED:
    return None
  if size == _ZIP64 and len(start) >= begin + 20:
    _, _, size, _ = struct.unpack_from('<2H2Q', start, begin)
  member = start[begin + extra : begin + extra + size]
  if len(member) != size or zlib.crc32(member) != checksum:
    return None
  name = start[_LOCAL.size : begin].decode('ascii', 'replace')
  return name.removesuffix(SUFFIX), parse(member)


def parse(member: bytes | memoryview) -> np.ndarray:
  """Returns the array of numpy's format that `member` holds, a view of it."""
  start = io.BytesIO(member[:_NUMPY_HEADER_BYTES])
  version = np.lib.format.read_magic(start)
  if version != (1, 0):
    raise ValueError(f"version {version} of numpy's format, expected (1, 0)")
  shape, fortran, dtype = np.lib.format.read_array_header_1_0(start)
  if dtype.hasobject:
    raise ValueError('an array of objects, which are pickles')
  size = math.prod(shape) * dtype.itemsize
  if size != len(member) - start.tell():
    raise ValueError(
      f'an array of shape {shape} in {len(member)} bytes, expected {size}'
    )
  order = 'F' if fortran else 'C'
  return np.ndarray(shape, dtype, member, start.tell(), order=order)


def _sample(array: np.ndarray) -> np.ndarray:
  """Returns rows from the middle: at an episode's ends less moves."""
  rows = max(_SAMPLE_ROWS, len(array) * _SMALL // array.nbytes)
  middle = max(0, len(array) - rows) // 2
  return array[middle : middle + rows]


def _shrinks(sample: np.ndarray) -> bool:
  """Returns whether it pays to deflate what this is a sample of."""
  deflated = zlib.compress(np.ascontiguousarray(sample), 1)
  return len(deflated) <= _PAYS * sample.nbytes


def _unpack(content: bytearray, member: zipfile.ZipInfo) -> bytes | memoryview:
  """Returns what a member of an archive holds, without a copy if it can be.

  zipfile would compute a second checksum of it, which takes a third of the time
  that a read takes.
  """
  lengths = struct.unpack_from('<2H', content, member.header_offset + 26)
  begin = member.header_offset + _LOCAL.size + sum(lengths)
  packed = memoryview(content)[begin : begin + member.compress_size]
  if member.compress_type == zipfile.ZIP_STORED:
    found, is_whole = packed, True
  elif member.compress_type == zipfile.ZIP_DEFLATED:
    unpacked = zlib.decompressobj(-zlib.MAX_WBITS)
    # No more than it says, whatever is packed into it.
    found = unpacked.decompress(packed, max(1, member.file_size))
    is_whole = unpacked.eof
  else:
    raise ValueError(f'{member.filename} is compressed in another way')
  if len(found) != member.file_size or not is_whole:
    raise ValueError(f'{member.filename} is of another size than it says')
  return found
