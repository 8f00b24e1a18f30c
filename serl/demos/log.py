"""The episodes of one actor on disk: what a run's tables are rebuilt from."""

from collections.abc import Iterator, Mapping
import os
import pathlib
from typing import Any

from serl import specs
from serl import types
from serl.demos import files


class EpisodeLog:
  """A folder of episodes, NNNNNN.npz, that grows.

  One process writes a folder. Opened again it goes on after the last file.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    spec: specs.EnvironmentSpec,
    metadata: Mapping[str, Any] | None = None,
    steps_per_second: float | None = None,
  ):
    """Opens the log, making its folder where there is none.

    Args:
      folder: of the files.
      spec: of the environment that all episodes come from.
      metadata: JSON data to keep with each new episode.
      steps_per_second: the environment's control rate, Hz, to keep as well; see
        `specs.steps_per_second`. None where it is not known.

    Raises:
      FileError: an episode that is there already is damaged or of another spec.
      OSError: the folder cannot be made or read.
    """
    self._folder = pathlib.Path(folder)
    self._spec = spec
    self._metadata = dict(metadata or {})
    if steps_per_second is not None:
      self._metadata[files.RATE] = steps_per_second
    self._folder.mkdir(parents=True, exist_ok=True)
    self._lengths: dict[pathlib.Path, int] = {}
    for path in files.find(self._folder):
      header = files.read_header(path, spec)
      self._lengths[path] = header['schema']['reward']['shape'][0]
    numbers = [int(path.stem) for path in self._lengths if path.stem.isdigit()]
    self._next_number = max(numbers, default=-1) + 1

  def __len__(self) -> int:
    """The number of episodes."""
    return len(self._lengths)

  @property
  def steps(self) -> int:
    """The number of environment steps in all episodes."""
    return sum(self._lengths.values())

  def append(
    self, episode: types.Episode, metadata: Mapping[str, Any] | None = None
  ) -> pathlib.Path:
    """Writes `episode` under the next number and returns its path.

    Args:
      episode: arrays that fit the log's spec.
      metadata: JSON data about this episode, beside that of the log.
    """
    path = self._folder / f'{self._next_number:06d}{files.SUFFIX}'
    files.write(
      path, episode, self._spec, {**self._metadata, **(metadata or {})}
    )
    self._lengths[path] = episode.length
    self._next_number += 1
    return path

  def discard(self, path: pathlib.Path) -> None:
    """Deletes the episode at `path`; its number is not given again."""
    del self._lengths[path]
    path.unlink()

  def read(self, index: int) -> types.Episode:
    """Reads the episode that came at `index`, counted from 0."""
    return files.read(tuple(self._lengths)[index], self._spec)[0]

  def episodes(self) -> Iterator[types.Episode]:
    """Reads the episodes in the order of their numbers, one at a time."""
    for path in tuple(self._lengths):
      yield files.read(path, self._spec)[0]
