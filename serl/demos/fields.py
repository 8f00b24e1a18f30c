"""The choice of fields of the observation and of the action."""

from collections.abc import Sequence
from typing import NamedTuple

from serl import specs
from serl.demos import files
from serl.demos import records

OBSERVATION, ACTION = 'observation', 'action'


class Choice(NamedTuple):
  """What to keep and what to drop.

  A field is called by its path, as 'observation/image', or by its name within
  the observation; a mapping of fields by that of the mapping. Where no field of
  the observation is kept by name, all are; of the action likewise.
  """

  keep: tuple[str, ...] = ()
  drop: tuple[str, ...] = ()


def choose(
  paths: Sequence[str], choice: Choice, others: Sequence[str] = ()
) -> list[str]:
  """Returns the paths that are chosen; those kept by name in their order.

  Args:
    paths: of all fields of the observation and of the action.
    choice: among them.
    others: fields that are left out in any case; they may be dropped, too.

  Raises:
    FileError: there is no such field, or nothing is left of the observation or
      of the action.
  """
  chosen = list(paths)
  kept = [path for name in choice.keep for path in _named(name, paths)]
  dropped = [
    path
    for name in choice.drop
    if name not in others
    for path in _named(name, paths)
  ]
  for group in (OBSERVATION, ACTION):
    named = [path for path in dict.fromkeys(kept) if is_within(path, group)]
    if named:
      chosen = [path for path in chosen if not is_within(path, group)] + named
  chosen = [path for path in chosen if path not in dropped]
  for group in (OBSERVATION, ACTION):
    if not any(is_within(path, group) for path in chosen):
      raise files.FileError(
        f'nothing is left of the {group} of {", ".join(paths)}; expected at '
        'least one field'
      )
  return chosen


def is_within(path: str, root: str) -> bool:
  """Returns whether `path` is `root` or below it."""
  return path == root or path.startswith(f'{root}/')


def select(record: records.Record, choice: Choice) -> records.Record:
  """Returns a record with the chosen fields of its observation alone.

  Raises:
    FileError: there is no such field, or nothing is left.
  """
  observation = specs.flatten(record.episode.observation, OBSERVATION)
  try:
    chosen = choose([*observation, ACTION], choice)
  except files.FileError as error:
    raise files.FileError(f'{record.name}: {error}') from error
  kept = {path: observation[path] for path in chosen if path != ACTION}
  return record._replace(
    episode=record.episode._replace(
      observation=specs.unflatten(kept)[OBSERVATION]
    )
  )


def select_spec(
  spec: specs.EnvironmentSpec, choice: Choice
) -> specs.EnvironmentSpec:
  """Returns the spec of what `select` returns."""
  observation = specs.flatten(spec.observations, OBSERVATION)
  chosen = choose([*observation, ACTION], choice)
  kept = {path: observation[path] for path in chosen if path != ACTION}
  return spec._replace(observations=specs.unflatten(kept)[OBSERVATION])


def _named(name: str, paths: Sequence[str]) -> list[str]:
  """Returns the paths of what is called `name`, from whichever root."""
  for root in (name, f'{OBSERVATION}/{name}'):
    found = [path for path in paths if is_within(path, root)]
    if found:
      return found
  raise files.FileError(
    f'no field {name!r} to keep or to drop among {", ".join(paths)}'
  )
