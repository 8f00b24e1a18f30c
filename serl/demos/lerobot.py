"""Writes a LeRobotDataset v3.0, which LeRobot trains its policies from.

The format is that of https://github.com/huggingface/lerobot:

    meta/info.json                                features, counts, paths
    meta/stats.json                               of each feature
    meta/tasks.parquet                            what was to be done, in words
    meta/episodes/chunk-000/file-000.parquet      a row for each episode
    data/chunk-000/file-000.parquet               a row for each step

A row holds the observation that was acted on, the action and what it led to, so
the last observation of an episode, on which nothing was done, is not there. The
numbers of an observation are one vector, 'observation.state', in the sorted
order of their names. Images are embedded as PNG ('image' features, the format's
alternative to video files), so that nothing of them is lost.
"""

from collections.abc import Iterable, Mapping
import io
import itertools
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from serl import specs
from serl.demos import files
from serl.demos import folders
from serl.demos import records

try:
  import pyarrow as pa
  from pyarrow import parquet
except ModuleNotFoundError as error:
  raise ModuleNotFoundError(
    f"LeRobot's format needs {error.name}, which is not here: pip install "
    "'serl[lerobot]'"
  ) from error

_VERSION = 'v3.0'
_FILES_IN_CHUNK = 1000
_FILE_MEGABYTES = 100  # of parquet, before the next file is begun
_VIDEO_MEGABYTES = 200  # what the format's readers expect to stand there
_PATH = 'chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
_DATA = f'data/{_PATH}'
_EPISODES = f'meta/episodes/{_PATH}'


class _Feature(NamedTuple):
  """One column, as meta/info.json describes it."""

  dtype: str
  shape: tuple[int, ...]
  names: list[str] | None = None

  @property
  def arrow(self) -> pa.DataType:
    """The type of the column in a parquet file."""
    if self.dtype == 'image':
      return pa.struct({'bytes': pa.binary(), 'path': pa.string()})
    scalar = pa.from_numpy_dtype(np.dtype(self.dtype))
    return scalar if self.shape == (1,) else pa.list_(scalar, self.shape[0])


_INDICES = {
  'timestamp': _Feature('float32', (1,)),
  'frame_index': _Feature('int64', (1,)),
  'episode_index': _Feature('int64', (1,)),
  'index': _Feature('int64', (1,)),
  'task_index': _Feature('int64', (1,)),
}


def write(
  folder: str | os.PathLike,
  found: Iterable[records.Record],
  spec: specs.EnvironmentSpec,
  task: str,
  robot: str = 'franka',
) -> None:
  """Writes a new data set, whole or not at all.

  Args:
    folder: of the data set.
    found: the episodes; read one at a time. The metadata of each have the rate
      of all, `files.RATE`.
    spec: that they fit. Its actions are a vector; its images have a name each
      and no stack of frames.
    task: what is done in them, as one would tell a person.
    robot: which one does it.

  Raises:
    FileError: the rate is missing, not the same of all, or not a whole number.
    FileExistsError: there is such a folder or file.
    ValueError: `spec` is not such a one, or there is no episode.
  """
  found = records.rated(found)
  first = next(found, None)
  if first is None:
    raise ValueError(f'{folder}: no episode to write; expected some')
  steps_per_second = _rate(first)
  has_success = 'success' in first.episode.extras
  features = _features(spec, has_success)
  with folders.new(folder) as unfinished:
    data = _DataFiles(unfinished, features)
    rows, stats = [], []
    total = 0
    for index, record in enumerate(itertools.chain([first], found)):
      _rate(record)
      length = record.episode.length
      steps = np.arange(length)
      columns = {
        **_columns(record, spec, has_success),
        'timestamp': (steps / steps_per_second).astype(np.float32),
        'frame_index': steps,
        'episode_index': np.full(length, index),
        'index': total + steps,
        'task_index': np.zeros(length, np.int64),
      }
      place = data.append(columns)
      stats.append({n: _stats(columns[n], f) for n, f in features.items()})
      rows.append(_row(index, total, length, task, place, stats[-1]))
      total += length
    data.close()
    episodes = _EPISODES.format(chunk_index=0, file_index=0)
    _write_table(unfinished / episodes, pa.Table.from_pylist(rows))
    _write_table(unfinished / 'meta/tasks.parquet', _tasks(task))
    _write_json(unfinished / 'meta/stats.json', _aggregate(stats))
    info = {
      'codebase_version': _VERSION,
      'robot_type': robot,
      'total_episodes': len(rows),
      'total_frames': total,
      'total_tasks': 1,
      'chunks_size': _FILES_IN_CHUNK,
      'data_files_size_in_mb': _FILE_MEGABYTES,
      'video_files_size_in_mb': _VIDEO_MEGABYTES,
      'fps': steps_per_second,
      'splits': {'train': f'0:{len(rows)}'},
      'data_path': _DATA,
      'video_path': None,
      'features': {name: f._asdict() for name, f in features.items()},
    }
    _write_json(unfinished / 'meta/info.json', info)


def _rate(record: records.Record) -> int:
  """Returns the steps per second, of which the format keeps whole numbers."""
  rate = record.metadata.get(files.RATE)
  if rate is None:
    raise files.FileError(
      f'{record.name}: no {files.RATE} in its metadata, expected the rate at '
      'which it was recorded: name it, as python -m serl.tools.convert_data '
      'does by --steps-per-second=HZ'
    )
  if not math.isclose(rate, round(rate), rel_tol=1e-6):
    raise files.FileError(
      f'{record.name}: recorded at {rate:g} steps per second, expected a whole '
      'number: LeRobot has no other; write RLDS (--to=rlds)'
    )
  return round(rate)


class _DataFiles:
  """The parquet files of the steps, one after the other."""

  def __init__(self, folder: pathlib.Path, features: Mapping[str, _Feature]):
    self._folder = folder
    self._schema = pa.schema(
      {name: feature.arrow for name, feature in features.items()}
    )
    self._count = 0
    self._bytes = 0
    self._writer: parquet.ParquetWriter | None = None

  def append(self, columns: Mapping[str, Any]) -> tuple[int, int]:
    """Writes an episode; returns the indices of the chunk and the file."""
    if self._bytes >= _FILE_MEGABYTES * 2**20:
      self.close()
    chunk_index, file_index = divmod(self._count, _FILES_IN_CHUNK)
    if self._writer is None:
      path = self._folder / _DATA.format(
        chunk_index=chunk_index, file_index=file_index
      )
      path.parent.mkdir(parents=True, exist_ok=True)
      self._writer = parquet.ParquetWriter(path, self._schema)
    table = pa.table(
      [_arrow(columns[field.name], field.type) for field in self._schema],
      schema=self._schema,
    )
    self._writer.write_table(table)
    self._bytes += table.nbytes
    return chunk_index, file_index

  def close(self) -> None:
    """Finishes the file; the next episode begins another."""
    if self._writer is not None:
      self._writer.close()
      self._writer = None
      self._count += 1
      self._bytes = 0


def _features(
  spec: specs.EnvironmentSpec, has_success: bool
) -> dict[str, _Feature]:
  numbers, images = _parts(spec)
  action = spec.actions
  if not isinstance(action, specs.Array) or len(action.shape) != 1:
    raise ValueError(f'actions are {action}; expected one vector')
  features = {}
  if numbers:
    names = [
      f'{path.replace("/", ".")}.{i}'
      for path, leaf in numbers.items()
      for i in range(int(np.prod(leaf.shape)))
    ]
    features['observation.state'] = _Feature('float32', (len(names),), names)
  for path, leaf in images.items():
    if len(leaf.shape) != 3:
      raise ValueError(
        f'image {path!r} is a stack of shape {leaf.shape}; expected single '
        'frames [height, width, channels]: export what was recorded unstacked'
      )
    features[_image_name(path)] = _Feature(
      'image', leaf.shape, ['height', 'width', 'channels']
    )
  size = action.shape[0]
  names = [f'action.{i}' for i in range(size)]
  features['action'] = _Feature('float32', (size,), names)
  features['next.reward'] = _Feature('float32', (1,))
  features['next.done'] = _Feature('bool', (1,))
  features['next.truncated'] = _Feature('bool', (1,))
  if has_success:
    features['next.success'] = _Feature('bool', (1,))
  return {**features, **_INDICES}


def _parts(
  spec: specs.EnvironmentSpec,
) -> tuple[dict[str, specs.Array], dict[str, specs.Array]]:
  """Returns the leaves that are numbers, and the images, by their paths."""
  leaves = specs.flatten(spec.observations)
  images = {p: leaf for p, leaf in leaves.items() if specs.is_image(leaf)}
  return {p: leaf for p, leaf in leaves.items() if p not in images}, images


def _image_name(path: str) -> str:
  return f'observation.images.{path.replace("/", ".")}'


def _columns(
  record: records.Record, spec: specs.EnvironmentSpec, has_success: bool
) -> dict[str, np.ndarray]:
  episode = record.episode
  numbers, images = _parts(spec)
  observation = specs.flatten(episode.observation)
  last = np.arange(episode.length) == episode.length - 1
  columns = {
    'action': np.asarray(episode.action, np.float32),
    'next.reward': episode.reward,
    'next.done': last,
    'next.truncated': last & (episode.discount != 0),
  }
  if numbers:
    columns['observation.state'] = np.concatenate(
      [
        observation[path][:-1].reshape(episode.length, -1).astype(np.float32)
        for path in numbers
      ],
      axis=1,
    )
  for path in images:
    columns[_image_name(path)] = observation[path][:-1]
  if has_success != ('success' in episode.extras):
    raise ValueError(
      f'{record.name}: success is recorded in some of the episodes only; '
      'expected all or none, convert them apart'
    )
  if has_success:
    columns['next.success'] = np.asarray(episode.extras['success'], bool)
  return columns


def _arrow(column: np.ndarray, kind: pa.DataType) -> pa.Array:
  if pa.types.is_struct(kind):
    return pa.array(
      [{'bytes': _png(image), 'path': None} for image in column], kind
    )
  if pa.types.is_fixed_size_list(kind):
    return pa.FixedSizeListArray.from_arrays(
      pa.array(column.reshape(-1), kind.value_type), kind.list_size
    )
  return pa.array(column.reshape(len(column)), kind)


def _png(image: np.ndarray) -> bytes:
  encoded = io.BytesIO()
  Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
    encoded, 'PNG', compress_level=1
  )
  return encoded.getvalue()


def _stats(column: np.ndarray, feature: _Feature) -> dict[str, np.ndarray]:
  """Returns the moments of a column; those of images by channel, in [0, 1]."""
  axis, scale = 0, 1.0
  if feature.dtype == 'image':
    axis, scale = (0, 1, 2), 255.0
  elif column.ndim == 1:
    column = column[:, None]
  stats = {
    'min': column.min(axis).astype(float) / scale,
    'max': column.max(axis).astype(float) / scale,
    'mean': column.mean(axis, dtype=float) / scale,
    'std': column.std(axis, dtype=float) / scale,
  }
  if feature.dtype == 'image':
    stats = {name: value[:, None, None] for name, value in stats.items()}
  return {**stats, 'count': np.array([len(column)])}


def _aggregate(
  stats: list[dict[str, dict[str, np.ndarray]]],
) -> dict[str, dict[str, Any]]:
  """Returns the moments of all episodes together."""
  total = {}
  for name in stats[0]:
    count = np.array([s[name]['count'][0] for s in stats], float)
    mean = np.stack([s[name]['mean'] for s in stats])
    whole = np.average(mean, 0, count)
    spread = (
      np.stack([s[name]['std'] for s in stats]) ** 2 + (mean - whole) ** 2
    )
    total[name] = {
      'min': np.min([s[name]['min'] for s in stats], 0).tolist(),
      'max': np.max([s[name]['max'] for s in stats], 0).tolist(),
      'mean': whole.tolist(),
      'std': np.sqrt(np.average(spread, 0, count)).tolist(),
      'count': [int(count.sum())],
    }
  return total


def _row(
  index: int,
  begin: int,
  length: int,
  task: str,
  place: tuple[int, int],
  stats: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
  """Returns what meta/episodes tells of one episode."""
  return {
    'episode_index': index,
    'tasks': [task],
    'length': length,
    'data/chunk_index': place[0],
    'data/file_index': place[1],
    'dataset_from_index': begin,
    'dataset_to_index': begin + length,
    **{
      f'stats/{name}/{stat}': value.tolist()
      for name, values in stats.items()
      for stat, value in values.items()
    },
    'meta/episodes/chunk_index': 0,
    'meta/episodes/file_index': 0,
  }


def _tasks(task: str) -> pa.Table:
  """Returns the tasks by their words: pandas' index, as its readers expect."""
  described = {
    'index_columns': ['task'],
    'column_indexes': [],
    'columns': [
      {
        'name': name,
        'field_name': name,
        'pandas_type': kind,
        'numpy_type': numpy_kind,
        'metadata': None,
      }
      for name, kind, numpy_kind in (
        ('task_index', 'int64', 'int64'),
        ('task', 'unicode', 'object'),
      )
    ],
  }
  table = pa.table({'task_index': pa.array([0], pa.int64()), 'task': [task]})
  return table.replace_schema_metadata({'pandas': json.dumps(described)})


def _write_table(path: pathlib.Path, table: pa.Table) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  parquet.write_table(table, path)


def _write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content, indent=2))
