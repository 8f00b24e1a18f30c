"""Formats that are not read, refused by their names."""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any

from serl.demos import files

# What others keep data in: how a file begins, what it is called, what a folder
# holds of it, and what is to be done.
_CONVERT = 'is not read here: write it as RLDS, or as a list of transitions'
_BEGINNINGS = {
  b'\x1f\x8b': 'compressed by gzip, expected it unpacked',
  b'\xfd7zXZ': 'compressed by xz, expected it unpacked',
  b'BZh': 'compressed by bzip2, expected it unpacked',
  b'\x89HDF': f'an HDF5 file, as robomimic and Minari write; it {_CONVERT}',
  b'PAR1': f'a Parquet file, as LeRobot writes; it {_CONVERT}',
  b'\x93NUMPY': 'a single array of numpy, expected whole episodes',
}
_ENDINGS = {
  '.hdf5': f'an HDF5 file, as robomimic and Minari write; it {_CONVERT}',
  '.h5': f'an HDF5 file, as robomimic and Minari write; it {_CONVERT}',
  '.zarr': f'a zarr store, as diffusion_policy writes; it {_CONVERT}',
  '.bag': f'a bag of ROS; it {_CONVERT}',
  '.mcap': f'a bag of ROS; it {_CONVERT}',
  '.pt': f'a file of PyTorch; it {_CONVERT}',
  '.pth': f'a file of PyTorch; it {_CONVERT}',
  '.parquet': f'a Parquet file, as LeRobot writes; it {_CONVERT}',
  '.tfrecord': 'records of RLDS; name the folder with its features.json',
  '.safetensors': 'a file of weights, expected episodes',
}
_CONTENTS = {
  'meta/info.json': f'a LeRobotDataset; it {_CONVERT}',
  'data/main_data.hdf5': f'a data set of Minari; it {_CONVERT}',
  '.zgroup': f'a zarr store, as diffusion_policy writes; it {_CONVERT}',
  'demo_buffer': "a run's folder of HIL-SERL, expected its demo_buffer or "
  'buffer: name one of them',
  '*.tfrecord*': 'records of TensorFlow without the features.json of RLDS; '
  'name the folder in which both are',
}


def refuse_file(path: pathlib.Path, start: bytes) -> None:
  """Refuses a file that begins or is named as those of another format.

  Raises:
    FileError: it does.
  """
  _refuse(path, _BEGINNINGS, start.startswith)
  # Shards have a number behind it, such as train.tfrecord-00000.
  _refuse(path, _ENDINGS, path.suffix.startswith)


def refuse_folder(path: pathlib.Path) -> None:
  """Refuses a folder that holds what those of another format do.

  Raises:
    FileError: it does.
  """
  _refuse(path, _CONTENTS, lambda pattern: any(path.glob(pattern)))
  for entry in (path, *sorted(path.iterdir())):
    _refuse(entry, _ENDINGS, entry.suffix.startswith)


def _refuse(
  path: pathlib.Path,
  formats: Mapping[Any, str],
  matches: Callable[[Any], bool],
) -> None:
  for mark, told in formats.items():
    if matches(mark):
      raise files.FileError(f'{path}: {told}')
