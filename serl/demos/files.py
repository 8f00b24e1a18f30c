"""The file format of an episode: numpy arrays with a header, never pickle.

A file is an .npz archive, see `npz`. Its arrays carry their paths in the
`types.Episode` as names ('observation/tcp_pos', 'action', 'reward'), and before
them stands 'header', JSON as bytes:

    format       'serl-episode'
    version      2
    spec         observations and actions, each as `specs.to_dict` gives them
    schema       shape and dtype of every array
    differences  names of the arrays that are stored as `npz.differences`
    metadata     free: success, task, created, actor, ...; 'steps_per_second',
                 where it is known, is the rate of the environment's clock, Hz

Version 1 is read as well. Its archives have no digest; their header has a
checksum, sha256 over names, dtypes, shapes and bytes of the arrays.

A file is written under a hidden name and appears whole or not at all; none is
ever overwritten.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
import struct
import tokenize
from typing import Any, BinaryIO
import zipfile
import zlib

import numpy as np

from serl import specs
from serl import types
from serl.demos import archives
from serl.demos import npz
from serl.replay import adders
from serl.utils import regular_file

FORMAT = 'serl-episode'
VERSION = 2
_CHECKSUM_VERSION = 1  # with a checksum of the arrays, uncompressed
SUFFIX = '.npz'
# The name in the metadata of the environment's control rate, Hz.
RATE = 'steps_per_second'
_HEADER = archives.HEADER
_HEADER_BYTES = 2**16  # in which a header usually ends
_DIFFERENCES = 'differences'
# Of the header, what are mappings; `archives.check_steps` checks the schema.
_PARTS = ('spec', 'metadata')
_SPEC_PARTS = ('observations', 'actions')
# What zipfile and numpy raise when bytes of an archive are wrong.
_DAMAGES = (
  zipfile.BadZipFile,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  NotImplementedError,
  OSError,
  OverflowError,
  RuntimeError,
  SyntaxError,
  TypeError,
  ValueError,
  struct.error,
  tokenize.TokenError,
  zlib.error,
)


class FileError(ValueError):
  """A file that is not a readable episode of the expected kind."""


class TornFileError(FileError):
  """A file that ends early or whose bytes were damaged."""


class PickleFileError(FileError):
  """A pickle: reading one would run whatever code it carries."""


class VersionError(FileError):
  """A file in a version of the format that this code does not read."""


class ChecksumError(FileError):
  """A file whose arrays are not those that were written."""


class SpecError(FileError):
  """A file from an environment with another spec."""


class ContentError(FileError):
  """A file whose arrays are not what its own spec says."""


def write(
  path: str | os.PathLike,
  episode: types.Episode,
  spec: specs.EnvironmentSpec,
  metadata: Mapping[str, Any] | None = None,
) -> None:
  """Writes `episode` to `path`, whole or not at all.

  Args:
    path: of the new file, ending in .npz; its folder must exist.
    episode: arrays that fit `spec`; observations and actions are an array each
      or mappings of them.
    spec: of the environment that the episode comes from.
    metadata: JSON data about the episode.

  Raises:
    FileExistsError: there is such a file; nothing is overwritten.
    OSError: the folder is not writable or full.
    ValueError: the episode does not fit `spec`, or its rate is no rate.
  """
  check_rate((metadata or {}).get(RATE))
  path = pathlib.Path(path)
  if path.suffix != SUFFIX or path.name.startswith('.'):
    raise ValueError(f'{path}: an episode is called NAME{SUFFIX}')
  adders.check(episode, spec)
  arrays = _flatten(episode)
  as_differences = [
    name
    for name, array in arrays.items()
    if npz.is_smaller_as_differences(array)
  ]
  header = {
    'format': FORMAT,
    'version': VERSION,
    'spec': describe(spec),
    'schema': _schema(arrays),
    _DIFFERENCES: as_differences,
    'metadata': dict(metadata or {}),
  }
  encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
  for name in as_differences:
    arrays[name] = npz.differences(arrays[name])
  content = npz.write({_HEADER: encoded, **arrays})
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with open(temporary, 'wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    # A link, unlike a rename, never replaces what is there already.
    os.link(temporary, path)
  except FileExistsError:
    raise FileExistsError(
      f'{path} exists and episodes are never overwritten; choose another name'
    ) from None
  except OSError as error:
    raise OSError(
      error.errno,
      f'cannot write {path.name} here ({error.strerror}); give a folder that '
      'exists, is writable and has space left',
      str(path.parent),
    ) from error
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink()
  _sync_folder(path.parent)


def read(
  path: str | os.PathLike, spec: specs.EnvironmentSpec | None = None
) -> tuple[types.Episode, dict[str, Any]]:
  """Reads an episode and verifies it.

  Args:
    path: of the file.
    spec: of the environment that it must come from; None for any.

  Returns:
    The episode and its metadata.

  Raises:
    FileNotFoundError: there is no such file.
    FileError: the file is no sound episode, or of another spec.
  """
  path = pathlib.Path(path)
  with _reading(path):
    content = _read_archive(path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      header = _header(path, content, archive)
      archives.check_schema(archive, header['schema'])
      if spec is not None:
        _check_spec(path, header['spec'], spec)
      if header['version'] > _CHECKSUM_VERSION:
        npz.check_digest(content, archive)
      found = [name for name in npz.names(archive) if name != _HEADER]
      as_differences = set(header.get(_DIFFERENCES, ()))
      if not as_differences <= set(found):
        raise ValueError(f'differences of {as_differences!r:.50}')
      arrays = npz.read(content, archive, found, as_differences)
    if _schema(arrays) != header['schema']:
      lines = specs.differences(_schema(arrays), header['schema'])
      raise ChecksumError(
        f'{path}: its arrays are not those of its header; replace the file:\n  '
        + '\n  '.join(lines)
      )
    if header['version'] == _CHECKSUM_VERSION:
      checksum = _checksum(arrays)
      if checksum != header['checksum']:
        raise npz.DigestError(
          f'checksum {checksum}, expected {header["checksum"]}'
        )
    episode = _episode(arrays)
    problems = adders.problems(episode, spec or told_spec(header['spec']))
    if problems:
      raise _content_error(path, problems)
  return episode, header['metadata']


def read_header(
  path: str | os.PathLike, spec: specs.EnvironmentSpec | None = None
) -> dict[str, Any]:
  """Reads the header alone: cheap, but says nothing of the arrays' bytes.

  Args:
    path: of the file.
    spec: of the environment that it must come from; None for any.

  Raises:
    FileNotFoundError: there is no such file.
    FileError: the file is no episode, or of another spec.
  """
  path = pathlib.Path(path)
  with _reading(path):
    with _open_regular(path) as file:
      first = npz.read_first(file.read(_HEADER_BYTES))
    if first is not None and first[0] == _HEADER:
      header = _checked_header(path, first[1])
    else:
      content = _read_archive(path)
      with zipfile.ZipFile(io.BytesIO(content)) as archive:
        header = _header(path, content, archive)
    if spec is not None:
      _check_spec(path, header['spec'], spec)
  return header


def check_rate(steps_per_second: float | None) -> None:
  """Refuses a rate that is none; None stands for one that is not known.

  Raises:
    ValueError: it is not a positive, finite number.
  """
  rate = steps_per_second
  number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
  if rate is not None and not (number and 0 < rate < math.inf):
    raise ValueError(
      f'{RATE} is {rate!r}, expected a positive number of steps per second'
    )


def is_damage(error: Exception) -> bool:
  """Returns whether a file that gave this error is not what was written.

  Else it is sound, but of another environment or another version of serl.
  """
  return not isinstance(error, (SpecError, VersionError))


def find(folder: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the episode files of a folder, sorted; unfinished ones are not."""
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    return []
  return [
    folder / name
    for name in sorted(os.listdir(folder))
    if name.endswith(SUFFIX) and not name.startswith('.')
  ]


def paths(folder_or_file: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the episode files of a folder, sorted, or the one file given.

  Raises:
    FileError: nothing is there.
  """
  root = pathlib.Path(folder_or_file)
  if os.path.lexists(root) and not root.is_dir():
    _open_regular(root).close()
    return [root]
  if not root.is_dir():
    raise FileError(
      f'{root}: no such file or folder; expected a folder of episodes or one '
      f'*{SUFFIX} file'
    )
  found = find(root)
  if not found:
    raise FileError(f'{root}: no episode in it; expected *{SUFFIX} files')
  return found


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
  """Raises a FileError of whatever damaged bytes lead to."""
  try:
    yield
  except (FileError, FileNotFoundError):
    raise
  except npz.DigestError as error:
    raise ChecksumError(
      f'{path}: {error}; the file was changed after it was written: replace it '
      'or remove it'
    ) from error
  except archives.StepsError as error:
    raise _content_error(path, [str(error)]) from error
  except archives.ArchiveError as error:
    raise ChecksumError(
      f'{path}: its arrays are not those of its header ({error}); replace the '
      'file or remove it'
    ) from error
  except _DAMAGES as error:
    raise TornFileError(
      f'{path}: torn or damaged ({error}), expected a whole episode; replace '
      'the file or remove it'
    ) from error


def _content_error(path: pathlib.Path, lines: Sequence[str]) -> ContentError:
  return ContentError(
    f'{path}: its arrays are not what its spec says; record it again, or '
    'remove the file:\n  ' + '\n  '.join(lines)
  )


def _open_regular(path: pathlib.Path) -> BinaryIO:
  try:
    return regular_file.open_bytes(path)
  except (regular_file.IrregularFileError, FileNotFoundError) as error:
    if not os.path.lexists(path):
      raise
    raise FileError(f'{error}; remove it') from error


def _read_archive(path: pathlib.Path) -> bytearray:
  """Returns the bytes of an archive, if its directory is within its bounds."""
  with _open_regular(path) as file:
    start = file.read(2)
    if start[:1] == b'\x80':
      raise PickleFileError(
        f'{path}: a pickle, expected an episode ({SUFFIX}); pickles are never '
        "opened here: SERL's demonstrations are imported by "
        'python -m serl.tools.convert_data'
      )
    if start not in (b'PK', b'P', b''):
      raise FileError(
        f'{path}: starts with {start!r}, expected an episode ({SUFFIX})'
      )
    archives.check_members(file)
    content = bytearray(os.fstat(file.fileno()).st_size)
    if file.readinto(content) != len(content):
      raise EOFError('it is being changed')
    return content


def _header(
  path: pathlib.Path, content: bytearray, archive: zipfile.ZipFile
) -> dict[str, Any]:
  found = npz.names(archive)
  if _HEADER not in found:
    raise FileError(
      f'{path}: an archive of {sorted(found)[:5]} without a header, expected '
      f'a file that serl.demos.files wrote'
    )
  return _checked_header(path, npz.read_checked(content, archive, _HEADER))


def _checked_header(path: pathlib.Path, encoded: np.ndarray) -> dict[str, Any]:
  """Returns the header that an array holds."""
  header = json.loads(encoded.tobytes())
  if not isinstance(header, dict) or header.get('format') != FORMAT:
    raise FileError(
      f'{path}: header {str(header)[:50]}..., expected format {FORMAT!r}'
    )
  version = header.get('version')
  if version not in (_CHECKSUM_VERSION, VERSION):
    advice = (
      'update serl to read it'
      if isinstance(version, int) and version > VERSION
      else 'write it again with this version of serl'
    )
    raise VersionError(
      f'{path}: version {version!r} of the format, expected {VERSION}; {advice}'
    )
  for part in (*_PARTS, *(f'spec/{part}' for part in _SPEC_PARTS)):
    entry: Any = header
    for key in part.split('/'):
      entry = entry.get(key)
    if not isinstance(entry, dict):
      raise ValueError(f'{part} of the header is {entry!r:.50}')
  archives.check_steps(header.get('schema'))
  for part in _SPEC_PARTS:
    archives.check_dtypes(header['spec'][part])
  return header


def _check_spec(
  path: pathlib.Path, given: Mapping[str, Any], spec: specs.EnvironmentSpec
) -> None:
  expected = describe(spec)
  lines = [
    f'{part}: {line}'
    for part in expected
    for line in specs.differences(given[part], expected[part])
  ]
  if lines:
    raise SpecError(
      f'{path}: recorded in an environment with another spec; record it again '
      'in this one, or make the environment of the file:\n  '
      + '\n  '.join(lines)
    )


def describe(spec: specs.EnvironmentSpec) -> dict[str, Any]:
  """Returns a spec as a header has it."""
  return {part: specs.to_dict(getattr(spec, part)) for part in _SPEC_PARTS}


def told_spec(described: Mapping[str, Any]) -> specs.EnvironmentSpec:
  """Returns the spec that a header describes."""
  return specs.EnvironmentSpec(
    *(specs.from_dict(described[part]) for part in _SPEC_PARTS),
    rewards=specs.Array((), np.float32, 'reward'),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount'),
  )


def _schema(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return {
    name: {'shape': list(array.shape), 'dtype': array.dtype.name}
    for name, array in arrays.items()
  }


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
  digest = hashlib.sha256()
  for name in sorted(arrays):
    array = np.ascontiguousarray(arrays[name])
    digest.update(f'{name} {array.dtype.str} {array.shape} '.encode())
    digest.update(array.data)
  return digest.hexdigest()


def _flatten(episode: types.Episode) -> dict[str, np.ndarray]:
  """Returns the arrays by their paths, such that `_episode` undoes it."""
  _check_keys('episode', episode._asdict())
  flat = specs.flatten(episode._asdict())
  return {path: np.asarray(array) for path, array in flat.items()}


def _check_keys(name: str, nested: Any) -> None:
  """Refuses what would not come back from paths as it went in."""
  if isinstance(nested, Mapping):
    for key, value in nested.items():
      if not isinstance(key, str) or not key or '/' in key:
        raise ValueError(
          f'{name} has the key {key!r}; expected a name without "/"'
        )
      _check_keys(f'{name}/{key}', value)
  elif isinstance(nested, (list, tuple)):
    raise ValueError(
      f'{name} is a {type(nested).__name__}; expected an array or a mapping'
    )


def _episode(arrays: Mapping[str, np.ndarray]) -> types.Episode:
  return types.Episode(**{'extras': {}, **specs.unflatten(arrays)})


def _sync_folder(folder: pathlib.Path) -> None:
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
