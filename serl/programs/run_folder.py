"""A run's folder: its layout, and whose it is.

config.json            what makes the run this run
episodes/ACTOR/        each finished episode, one file
checkpoints/           the learner's training state and counters
metrics/NODE.jsonl     one record a line
tensorboard/NODE/      the same for TensorBoard
logs/NODE.txt          what the node printed
learning_curve.png, evaluation.mp4, summary.json
"""

import json
import os
import pathlib
import time
from typing import Any

from serl import specs
from serl.programs import config as config_lib

_CONFIG = 'config.json'


class AnotherRunError(ValueError):
  """The folder holds a run of another configuration."""


def episodes(folder: pathlib.Path, actor: str) -> pathlib.Path:
  """Returns the folder of one actor's episodes."""
  return folder / 'episodes' / actor


def checkpoints(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of the learner's checkpoints."""
  return folder / 'checkpoints'


def log(folder: pathlib.Path, node: str) -> pathlib.Path:
  """Returns the file that a node prints to."""
  return folder / 'logs' / f'{node}.txt'


def claim(config: config_lib.RunConfig, spec: specs.EnvironmentSpec) -> bool:
  """Makes the run's folder, or checks that the one there is this run's.

  Returns:
    Whether the folder held this run already, so that it goes on.

  Raises:
    AnotherRunError: the folder is another run's; says in what they differ.
    PermissionError: the folder cannot be written.
  """
  folder = config.folder
  described = config.describe(spec)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise _not_writable(folder, error) from error
  if not os.access(folder, os.W_OK):
    raise _not_writable(folder, None)
  path = folder / _CONFIG
  if path.exists():
    found = json.loads(path.read_text())
    lines = _differences(described, found['run'])
    if lines:
      raise AnotherRunError(
        f'{folder} holds a run of another configuration:\n  '
        + '\n  '.join(lines)
        + '\nName another folder, or restore the configuration to resume it.'
      )
    return True
  leftovers = sorted(
    p.name for p in folder.iterdir() if p.name not in ('demonstrations', 'logs')
  )
  if leftovers:
    raise AnotherRunError(
      f'{folder} is not empty ({", ".join(leftovers[:5])}) and holds no '
      f'{_CONFIG}, so it is no run. Name another folder.'
    )
  temporary = folder / f'.{_CONFIG}'
  temporary.write_text(
    json.dumps({'started': time.time(), 'run': described}, indent=2) + '\n'
  )
  os.replace(temporary, path)
  return False


def started(folder: pathlib.Path) -> float:
  """Returns the unix time at which the run was first started."""
  return json.loads((folder / _CONFIG).read_text())['started']


def _not_writable(
  folder: pathlib.Path, error: OSError | None
) -> PermissionError:
  reason = f' ({error.strerror})' if error else ''
  return PermissionError(
    f'The run folder {folder} cannot be written{reason}. Name another one, '
    'or give yourself the right to write there.'
  )


def _differences(given: Any, found: Any) -> list[str]:
  """Returns a line for each leaf in which two descriptions differ."""
  given = specs.flatten(json.loads(json.dumps(given)))
  found = specs.flatten(found)
  lines = []
  for path in sorted(set(given) | set(found)):
    ours, theirs = given.get(path, 'absent'), found.get(path, 'absent')
    if ours != theirs:
      lines.append(f'{path}: {theirs!r} in the folder, {ours!r} now')
  return lines
