"""Reads a data set of any format that is known here, and writes our own."""

from collections.abc import Iterable, Iterator, Sequence
import functools
import itertools
import os
import pathlib
from typing import NamedTuple

import numpy as np

from serl import specs
from serl.demos import fields
from serl.demos import files
from serl.demos import folders
from serl.demos import grippers
from serl.demos import log as log_lib
from serl.demos import records
from serl.demos import rlds_steps
from serl.demos import serl_pickle
from serl.demos import unread
from serl.utils import regular_file

EPISODES = 'episodes'
SERL_PICKLE = "SERL's pickle"
RLDS = 'RLDS'

_ALL = fields.Choice()
_SHOWN_ERRORS = 10


class Dataset(NamedTuple):
  """Episodes, to be read once and one at a time."""

  kind: str  # EPISODES, SERL_PICKLE or RLDS
  spec: specs.EnvironmentSpec
  records: Iterator[records.Record]


def read(
  path: str | os.PathLike,
  spec: specs.EnvironmentSpec | None = None,
  time_limit: int | None = None,
  success: bool | None = None,
  last_step: rlds_steps.LastStep | None = None,
  choice: fields.Choice = _ALL,
  on_damage: log_lib.OnDamage | None = None,
  actions: bool = True,
) -> Dataset:
  """Returns the data set at `path`, in whichever format it is.

  What was not recorded by this project is made to fit `spec`, see
  `records.fit`.

  Args:
    path: a folder of episodes or one of them, a pickle of SERL's or a folder of
      such, or a folder of RLDS.
    spec: of the environment that the data are for; None for that which the data
      tell, or `records.infer_spec` of the first episode.
    time_limit: see `serl_pickle.read`; of no other format.
    success: see `serl_pickle.read`; of no other format.
    last_step: see `rlds.read`; of no other format.
    choice: of the fields of the observation; of those of a dict of actions, if
      the format is RLDS.
    on_damage: called with each damaged file of our own format, which is left
      out; by default they are an error at the end.
    actions: whether those of others' data are read; else they are 0, as for a
      classifier, which sees none.

  Raises:
    FileError: nothing is there, or it is none of these; or, while it is read,
      an episode is damaged or does not fit.
    ImportError: the format needs a package that is not installed.
    ValueError: an argument is of another format.
  """
  path = pathlib.Path(path)
  kind = _kind(path)
  if kind != SERL_PICKLE and (time_limit, success) != (None, None):
    raise ValueError(
      f'{path}: a time limit and a success can be told only of {SERL_PICKLE}, '
      f'but this is {kind}'
    )
  if kind != RLDS and last_step is not None:
    raise ValueError(
      f'{path}: what the last step is can be told only of {RLDS}, but this is '
      f'{kind}'
    )
  told = None
  if kind == EPISODES:
    paths = files.paths(path)
    if choice == _ALL:
      spec = spec or _told_spec(paths[0])
      return Dataset(kind, spec, _read_episodes(paths, spec, on_damage))
    told = _told_spec(paths[0])
    found = _read_episodes(paths, told, on_damage)
  elif kind == SERL_PICKLE:
    found = serl_pickle.read(path, time_limit, success)
  else:
    _check_folder(path)
    # TensorFlow stands behind this import, which not every reader has.
    from serl.demos import rlds

    found = rlds.read(path, last_step, choice)
    told = rlds.read_spec(path)
  if choice != _ALL and (kind != RLDS or told is not None):
    found = (fields.select(record, choice) for record in found)
    told = told and fields.select_spec(told, choice)
  if told is not None and spec is not None:
    _demand_same_actions(path, told, spec)
  if success is not None or not actions:
    blank = functools.partial(records.without_actions, spec=spec or told)
    found = map(blank, found)
  first = next(found)
  units = None if told is not None or spec is None else grippers.Units()
  spec = spec or told or records.infer_spec(first)
  fitted = (
    records.fit(record, spec, clip=True, units=units)
    for record in itertools.chain([first], found)
  )
  return Dataset(kind, spec, fitted)


def check(path: str | os.PathLike) -> None:
  """Checks by its beginning alone that there is a data set at `path`.

  Raises:
    FileError: nothing is there, or nothing that is known here.
  """
  path = pathlib.Path(path)
  if not os.path.lexists(path):
    raise files.FileError(
      f'{path}: no such file or folder; expected a folder of episodes or one '
      f'*{files.SUFFIX} of them, {SERL_PICKLE}, or a folder of {RLDS}: correct '
      'the path, or record some with python -m serl.tools.record_demos'
    )
  kind = _kind(path)
  if kind == EPISODES:
    files.read_header(files.paths(path)[0])
  elif kind == SERL_PICKLE:
    for pickled in serl_pickle.paths(path):
      if not pickled.stat().st_size:
        raise files.FileError(f'{pickled}: empty, expected {SERL_PICKLE}')


def write(
  folder: str | os.PathLike,
  found: Iterable[records.Record],
  spec: specs.EnvironmentSpec,
) -> None:
  """Writes a new folder of episodes, whole or not at all.

  Args:
    folder: of the episodes.
    found: the episodes; read one at a time.
    spec: that they fit.

  Raises:
    FileExistsError: there is such a folder or file.
    FileError: an episode cannot be read; nothing is written then.
  """
  with folders.new(folder) as unfinished:
    log = log_lib.EpisodeLog(unfinished, spec)
    for record in found:
      log.append(record.episode, record.metadata)


def _demand_same_actions(
  path: pathlib.Path,
  told: specs.EnvironmentSpec,
  expected: specs.EnvironmentSpec,
) -> None:
  """Raises FileError if a data set's actions were scaled to other bounds."""
  bounds = [
    (x.actions.minimum, x.actions.maximum)
    for x in (told, expected)
    if isinstance(x.actions, specs.BoundedArray)
  ]
  if len(bounds) == 2 and not all(map(np.array_equal, *bounds)):
    raise files.FileError(
      f'{path}: its actions are in {bounds[0][0]} to {bounds[0][1]}, expected '
      f'{bounds[1][0]} to {bounds[1][1]}: scale them, or name the task that '
      'they were recorded in'
    )


def is_serl_pickle(path: str | os.PathLike) -> bool:
  """Returns whether there is a pickle of SERL's, to judge by its beginning."""
  return _kind(pathlib.Path(path)) == SERL_PICKLE


def _kind(path: pathlib.Path) -> str:
  if not path.is_dir():
    try:
      with regular_file.open_bytes(path) as file:
        start = file.read(8)
    except FileNotFoundError:
      return EPISODES  # which says what is missing
    except regular_file.IrregularFileError as error:
      raise files.FileError(f'{error}; name a file or a folder') from error
    is_pickle = start[:1] == b'\x80' or path.suffix in serl_pickle.SUFFIXES
    if not start.startswith(b'PK') or path.suffix != files.SUFFIX:
      unread.refuse_file(path, start)
    return SERL_PICKLE if is_pickle else EPISODES
  if any(path.glob('features.json')) or any(path.glob('*/features.json')):
    return RLDS
  episodes, pickles = files.find(path), serl_pickle.paths(path)
  if episodes and pickles:
    raise files.FileError(
      f'{path}: {len(episodes)} episodes ({episodes[0].name}, ...) beside '
      f'{len(pickles)} pickles ({pickles[0].name}, ...), expected one format: '
      'move one of them to a folder of its own'
    )
  if episodes:
    return EPISODES
  if pickles:
    return SERL_PICKLE
  unread.refuse_folder(path)
  return EPISODES


def _check_folder(path: pathlib.Path) -> None:
  try:
    regular_file.check_folder(path)
  except OSError as error:
    raise files.FileError(f'{error}; remove it') from error


def _told_spec(path: pathlib.Path) -> specs.EnvironmentSpec:
  return files.told_spec(files.read_header(path)['spec'])


def _read_episodes(
  paths: Sequence[pathlib.Path],
  spec: specs.EnvironmentSpec,
  on_damage: log_lib.OnDamage | None,
) -> Iterator[records.Record]:
  """Yields the sound files; names all others at the end, not only the first."""
  errors = []
  for path in paths:
    try:
      episode, metadata = files.read(path, spec)
    except files.FileError as error:
      if on_damage is not None and files.is_damage(error):
        on_damage(path, error)
      else:
        errors.append(error)
      continue
    yield records.Record(str(path), episode, metadata)
  if len(errors) == 1:
    raise errors[0]
  if errors:
    shown = [str(error) for error in errors[:_SHOWN_ERRORS]]
    raise files.FileError(
      f'{len(errors)} of {len(paths)} episodes cannot be read:\n'
      + '\n'.join(shown)
    )
