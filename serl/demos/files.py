"""The file format of an episode: numpy arrays with a header, never pickle.

A file is an uncompressed .npz archive. Its arrays carry their paths in the
`types.Episode` as names ('observation/tcp_pos', 'action', 'reward'), and beside
them stands 'header', JSON as bytes:

    format       'serl-episode'
    version      1
    spec         observations and actions, each as `specs.to_dict` gives them
    schema       shape and dtype of every array
    checksum     sha256 over names, dtypes, shapes and bytes of the arrays
    metadata     free: success, task, created, actor, ...; 'steps_per_second',
                 where it is known, is the rate of the environment's clock, Hz

A file is written under a hidden name and appears whole or not at all; none is
ever overwritten.
"""

from collections.abc import Mapping
import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
import struct
from typing import Any
import zipfile
import zlib

import numpy as np

from serl import specs
from serl import types
from serl.replay import adders

FORMAT = 'serl-episode'
VERSION = 1
SUFFIX = '.npz'
# The name in the metadata of the environment's control rate, Hz.
RATE = 'steps_per_second'
_HEADER = 'header'
# What zipfile and numpy raise when bytes of an archive are wrong.
_DAMAGES = (
  zipfile.BadZipFile,
  EOFError,
  KeyError,
  MemoryError,
  NotImplementedError,
  OSError,
  RuntimeError,
  TypeError,
  ValueError,
  struct.error,
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
  header = {
    'format': FORMAT,
    'version': VERSION,
    'spec': _describe(spec),
    'schema': _schema(arrays),
    'checksum': _checksum(arrays),
    'metadata': dict(metadata or {}),
  }
  encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
  content = io.BytesIO()
  np.savez(content, **{_HEADER: encoded}, **arrays)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with open(temporary, 'wb') as file:
      file.write(content.getbuffer())
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
  with _open(path) as archive:
    header = _header(path, archive)
    if spec is not None:
      _check_spec(path, header['spec'], spec)
    arrays = {name: archive[name] for name in archive.files if name != _HEADER}
  if _schema(arrays) != header['schema']:
    lines = specs.differences(_schema(arrays), header['schema'])
    raise ChecksumError(
      f'{path}: its arrays are not those of its header; replace the file:\n  '
      + '\n  '.join(lines)
    )
  checksum = _checksum(arrays)
  if checksum != header['checksum']:
    raise ChecksumError(
      f'{path}: checksum {checksum}, expected {header["checksum"]}; the arrays '
      'were changed after they were written: replace the file or remove it'
    )
  return _episode(arrays), header['metadata']


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
  with _open(path) as archive:
    header = _header(path, archive)
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


def find(folder: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the episode files of a folder, sorted; unfinished ones are not."""
  found = pathlib.Path(folder).glob(f'*{SUFFIX}')
  return sorted(path for path in found if not path.name.startswith('.'))


def paths(folder_or_file: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the episode files of a folder, sorted, or the one file given.

  Raises:
    FileError: nothing is there.
  """
  root = pathlib.Path(folder_or_file)
  if root.is_file():
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
def _open(path: pathlib.Path):
  """Opens the archive; what is damaged inside raises a TornFileError."""
  with open(path, 'rb') as file:
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
  try:
    with np.load(path, allow_pickle=False) as archive:
      yield archive
  except FileError:
    raise
  except _DAMAGES as error:
    raise TornFileError(
      f'{path}: torn or damaged ({error}), expected a whole episode; replace '
      'the file or remove it'
    ) from error


def _header(path: pathlib.Path, archive: Mapping[str, Any]) -> dict[str, Any]:
  if _HEADER not in archive:
    raise FileError(
      f'{path}: an archive of {sorted(archive)[:5]} without a header, expected '
      f'a file that serl.demos.files wrote'
    )
  header = json.loads(archive[_HEADER].tobytes())
  if not isinstance(header, dict) or header.get('format') != FORMAT:
    raise FileError(
      f'{path}: header {str(header)[:50]}..., expected format {FORMAT!r}'
    )
  version = header.get('version')
  if version != VERSION:
    advice = (
      'update serl to read it'
      if isinstance(version, int) and version > VERSION
      else 'write it again with this version of serl'
    )
    raise VersionError(
      f'{path}: version {version!r} of the format, expected {VERSION}; {advice}'
    )
  return header


def _check_spec(
  path: pathlib.Path, given: Mapping[str, Any], spec: specs.EnvironmentSpec
) -> None:
  expected = _describe(spec)
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


def _describe(spec: specs.EnvironmentSpec) -> dict[str, Any]:
  return {
    'observations': specs.to_dict(spec.observations),
    'actions': specs.to_dict(spec.actions),
  }


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
