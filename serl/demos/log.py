"""The episodes of one actor on disk: what a run's tables are rebuilt from."""

import bisect
from collections.abc import Callable, Iterator, Mapping
import hashlib
import json
import os
import pathlib
from typing import Any

from absl import logging
import numpy as np

from serl import specs
from serl import types
from serl.demos import files
from serl.demos import index as index_lib

# Takes the path of a damaged file and what is wrong with it.
OnDamage = Callable[[pathlib.Path, files.FileError], None]


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
    on_damage: OnDamage | None = None,
  ):
    """Opens the log, making its folder where there is none.

    Args:
      folder: of the files.
      spec: of the environment that all episodes come from.
      metadata: JSON data to keep with each new episode.
      steps_per_second: the environment's control rate, Hz, to keep as well; see
        `specs.steps_per_second`. None where it is not known.
      on_damage: called with each file that turns out to be damaged, now or when
        it is read; the log goes on without it. By default that is an error.

    Raises:
      FileError: an episode that is there already is damaged or of another spec.
      OSError: the folder cannot be made or read.
    """
    self._folder = pathlib.Path(folder)
    self._spec = spec
    self._metadata = dict(metadata or {})
    if steps_per_second is not None:
      self._metadata[files.RATE] = steps_per_second
    self._on_damage = on_damage
    self._described = files.describe(spec)
    self._spec_digest = _digest(self._described)
    self._folder.mkdir(parents=True, exist_ok=True)
    # Of damaged ones, too: their numbers are not given again.
    names = [path.name for path in files.find(self._folder)]
    numbers = map(_number, filter(_is_numbered, names))
    self._next_number = max(numbers, default=-1) + 1
    self._entries = self._open()
    # Of those named by a number, ascending.
    self._numbers = sorted(map(_number, filter(_is_numbered, self._entries)))

  def __len__(self) -> int:
    """The number of episodes."""
    return len(self._entries)

  @property
  def steps(self) -> int:
    """The number of environment steps in all episodes."""
    return sum(entry.length for entry in tuple(self._entries.values()))

  @property
  def end(self) -> int:
    """The number that the next episode gets."""
    return self._next_number

  def append(
    self, episode: types.Episode, metadata: Mapping[str, Any] | None = None
  ) -> pathlib.Path:
    """Writes `episode` under the next number and returns its path.

    Args:
      episode: arrays that fit the log's spec.
      metadata: JSON data about this episode, beside that of the log.
    """
    path = self._folder / _name(self._next_number)
    files.write(
      path, episode, self._spec, {**self._metadata, **(metadata or {})}
    )
    columns = [
      name
      for name, extra in sorted(episode.extras.items())
      if any(np.any(column) for column in specs.flatten(extra).values())
    ]
    entry = self._entry(path, episode.length, columns)
    index_lib.append(self._folder, path.name, entry)
    self._entries[path.name] = entry
    self._numbers.append(self._next_number)
    self._next_number += 1
    return path

  def discard(self, path: pathlib.Path) -> None:
    """Deletes the episode at `path`; its number is not given again."""
    self._forget(path.name)
    path.unlink()

  def episodes(self) -> Iterator[types.Episode]:
    """Reads the sound episodes in the order of their names, one at a time."""
    for name in tuple(self._entries):
      episode = self._read(name)
      if episode is not None:
        yield episode

  def next_number(self, at_least: int) -> int | None:
    """Returns the number of the next episode, None if there is none yet.

    Args:
      at_least: from which number on to look.
    """
    numbers = self._numbers
    place = bisect.bisect_left(numbers, at_least)
    return numbers[place] if place < len(numbers) else None

  def count_from(self, number: int) -> int:
    """Returns how many episodes have this number or a greater one."""
    return len(self._numbers) - bisect.bisect_left(self._numbers, number)

  def first_within(self, steps: int) -> int:
    """Returns the number from which on there are `steps`, or nearly so many.

    It is the greatest such that no more than one episode is too many.
    """
    for number in reversed(self._numbers):
      steps -= self._entries[_name(number)].length
      if steps <= 0:
        return number
    return 0

  def steps_between(self, begin: int, end: int) -> int:
    """Returns the steps of episodes with numbers from `begin` up to `end`."""
    numbers = self._numbers
    chosen = numbers[
      bisect.bisect_left(numbers, begin) : bisect.bisect_left(numbers, end)
    ]
    entries = map(self._entries.get, map(_name, chosen))
    # One that is found damaged meanwhile, in another thread, is gone.
    return sum(entry.length for entry in entries if entry is not None)

  def may_hold(self, number: int, name: str) -> bool:
    """Returns whether the extra `name` of an episode is not just zeros.

    It may still be where a lost index was made again, for which no array is
    read.
    """
    return name in self._entries[_name(number)].columns

  def read(self, number: int) -> types.Episode | None:
    """Returns the episode of a number; None if it turns out to be damaged."""
    return self._read(_name(number))

  def _open(self) -> dict[str, index_lib.Entry]:
    """Returns what the files hold, by their names in order."""
    known, is_whole = index_lib.read(self._folder)
    found: dict[str, index_lib.Entry] = {}
    for path in files.find(self._folder):
      if self._on_damage is not None and not _is_numbered(path.name):
        logging.warning('%s is not of this log and left out.', path)
        continue
      try:
        entry = known.get(path.name)
        if entry is None or entry[:3] != self._entry(path, 0, [])[:3]:
          header = files.read_header(path)
          if header['spec'] != self._described:
            files.read_header(path, self._spec)  # raises in what they differ
          entry = self._entry(path, *_contents(header['schema']))
      except (files.FileError, OSError) as error:
        self._report(path, error)
        continue
      found[path.name] = entry
    if found != known or (not is_whole and found):
      index_lib.write(self._folder, found)
    return found

  def _entry(
    self, path: pathlib.Path, length: int, columns: list[str]
  ) -> index_lib.Entry:
    stat = path.stat()
    return index_lib.Entry(
      stat.st_size, stat.st_mtime_ns, self._spec_digest, length, columns
    )

  def _read(self, name: str) -> types.Episode | None:
    path = self._folder / name
    try:
      return files.read(path, self._spec)[0]
    except (files.FileError, OSError) as error:
      self._report(path, error)
      self._forget(name)
      return None

  def _report(self, path: pathlib.Path, error: Exception) -> None:
    """Raises an error again unless it is a damage that is taken elsewhere."""
    if self._on_damage is None or not files.is_damage(error):
      raise error
    self._on_damage(path, error)

  def _forget(self, name: str) -> None:
    del self._entries[name]
    if _is_numbered(name):
      self._numbers.remove(_number(name))


def _contents(schema: Mapping[str, Any]) -> tuple[int, list[str]]:
  """Returns an episode's length and its extras by the schema of a file."""
  paths = (name.split('/') for name in schema)
  columns = {path[1] for path in paths if path[0] == 'extras' and path[1:]}
  return schema['reward']['shape'][0], sorted(columns)


def _name(number: int) -> str:
  return f'{number:06d}{files.SUFFIX}'


def _number(name: str) -> int:
  return int(name.removesuffix(files.SUFFIX))


def _is_numbered(name: str) -> bool:
  stem = name.removesuffix(files.SUFFIX)
  return stem.isdecimal() and _name(int(stem)) == name


def _digest(described: Mapping[str, Any]) -> str:
  """Returns what tells a spec, and the version of the format, from others."""
  text = json.dumps([files.VERSION, described], sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]
