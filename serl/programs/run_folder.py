"""A run's folder: its layout, and whose it is.

config.json            what makes the run this run
episodes/ACTOR/        each finished episode, one file
checkpoints/           the learner's training state and counters
damaged/               what of these was damaged, and reasons.txt
best_policy/           the policy that did best in a sweep of the evaluator
metrics/NODE.jsonl     one record a line
tensorboard/NODE/      the same for TensorBoard
logs/NODE.txt          what the node printed
key.pem                admits nodes to the learner; for its owner alone
evaluations/           of checkpoints named by hand: STEP.json, STEP.mp4
interventions.png      what a person's corrections were worth, and .json
learning_curve.png, evaluation.mp4, summary.json
"""

from collections.abc import Callable, Iterator
import contextlib
import fcntl
import json
import os
import pathlib
import sys
import time
from typing import Any

from absl import logging
import dm_env
import safetensors

from serl import specs
from serl.demos import files
from serl.demos import log as log_lib
from serl.programs import config as config_lib
from serl.utils import damaged
from serl.utils import layout

_CONFIG = layout.CONFIG
# What may stand there before a run is begun.
_BEFORE = (
  'classifier',
  'damaged',
  'demonstrations',
  'goals',
  'key.pem',
  'logs',
)
# What a run leaves, of which some is there as soon as it is under way.
_LEFT = ('checkpoints', 'episodes', 'metrics')
# Of the configuration, what a checkpoint is good for.
_WHAT_ACTS = ('agent', 'environment', 'observations', 'actions')


class AnotherRunError(ValueError):
  """The folder holds a run of another configuration."""


class DamagedConfigError(AnotherRunError):
  """The folder's configuration cannot be read."""


def episodes(folder: pathlib.Path, actor: str) -> pathlib.Path:
  """Returns the folder of one actor's episodes."""
  return folder / 'episodes' / actor


def open_log(
  folder: pathlib.Path, actor: str, environment: dm_env.Environment
) -> log_lib.EpisodeLog:
  """Opens the log of one actor's episodes; damaged ones are set aside.

  Only the process that writes the log does this.

  Args:
    folder: of the run.
    actor: the name of its node.
    environment: that it acts in.

  Raises:
    FileError: an episode is of another spec or version.
    OSError: the folder cannot be made or read.
  """
  return log_lib.EpisodeLog(
    episodes(folder, actor),
    specs.make_environment_spec(environment),
    steps_per_second=specs.steps_per_second(environment),
    on_damage=set_aside(folder),
  )


def set_aside(
  folder: pathlib.Path,
) -> Callable[[pathlib.Path, files.FileError], None]:
  """Returns a function that sets a damaged file of the run aside."""

  def move(path: pathlib.Path, error: files.FileError) -> None:
    damaged.set_aside(path, folder, str(error))

  return move


def damaged_episodes(folder: pathlib.Path) -> int:
  """Returns how many episodes of the run were set aside."""
  return damaged.count(folder, 'episodes/*/*')


def checkpoints(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of the learner's checkpoints."""
  return folder / layout.CHECKPOINTS


def log(folder: pathlib.Path, node: str) -> pathlib.Path:
  """Returns the file that a node prints to."""
  return folder / 'logs' / f'{node}.txt'


def best_policy(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of the policy that did best in a sweep."""
  return folder / layout.BEST_POLICY


def evaluations(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of what `evaluation.evaluate` found."""
  return folder / 'evaluations'


def claim(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec, task: str = ''
) -> bool:
  """Makes the run's folder, or checks that the one there is this run's.

  Args:
    config: of the run.
    spec: of its environment.
    task: of a run that takes turns with others, its name among them.

  Returns:
    Whether the folder held this run already, so that it goes on.

  Raises:
    AnotherRunError: the folder is another run's; says in what they differ. Or a
      file in it is a link to one elsewhere.
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
  _check_links(folder)
  written = {
    'started': time.time(),
    'command': [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    'task': task,
    'run': described,
  }
  # The last of a launch that was killed, too.
  begun = (*_BEFORE, f'.{_CONFIG}', _CONFIG)
  leftovers = sorted(p.name for p in folder.iterdir() if p.name not in begun)
  path = folder / _CONFIG
  if path.exists():
    try:
      found = _read(folder)['run']
    except DamagedConfigError as error:
      if leftovers and not set(leftovers) & set(_LEFT):
        raise
      damaged.set_aside(path, folder, str(error), os.link)
      logging.error('%s is written anew; nothing was compared with it.', path)
      _write(path, written)
      return True
    lines = differences(described, found)
    if lines:
      raise AnotherRunError(
        f'{folder} holds a run of another configuration:\n  '
        + '\n  '.join(lines)
        + '\nName another folder, or restore the configuration to resume it.'
      )
    return True
  if leftovers:
    raise AnotherRunError(
      f'{folder} is not empty ({", ".join(leftovers[:5])}) and holds no '
      f'{_CONFIG}, so it is no run. Name another folder.'
    )
  _write(path, written)
  return False


@contextlib.contextmanager
def used(folder: pathlib.Path, role: str = 'all') -> Iterator[None]:
  """Keeps others from using the folder in the same role meanwhile.

  Args:
    folder: of the run, or of what runs that take turns share.
    role: of a launch; 'all' is each of them.

  Raises:
    AnotherRunError: somebody does.
  """
  roles = ('learner', 'actor', 'evaluator') if role == 'all' else (role,)
  logs = folder / 'logs'
  logs.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    for each in roles:
      file = stack.enter_context((logs / f'{each}.lock').open('w'))
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError as error:
        raise AnotherRunError(
          f'{folder} is in use by another launch: wait for its end or stop it, '
          'or name another folder.'
        ) from error
    yield


def is_run(folder: pathlib.Path) -> bool:
  """Returns whether a folder is there and holds a run."""
  return (folder / _CONFIG).is_file()


def started(folder: pathlib.Path) -> float:
  """Returns the unix time at which the run was first started."""
  return _read(folder)['started']


def command(folder: pathlib.Path) -> list[str]:
  """Returns the program's file name and the arguments that began the run.

  Args:
    folder: of the run, or of what runs that alternate share.

  Raises:
    AnotherRunError: the folder holds no run, which is described, or the
      command is no list of strings.
  """
  if not (folder / _CONFIG).is_file():
    folder = next((p.parent for p in folder.glob(f'*/{_CONFIG}')), folder)
  found = _read(folder).get('command')
  is_command = isinstance(found, list) and found
  if not is_command or not all(isinstance(word, str) for word in found):
    raise AnotherRunError(
      f'{folder / _CONFIG} has the command {found!r}, expected the name of a '
      'program and its arguments.'
    )
  return found


def task(folder: pathlib.Path) -> str:
  """Returns the name of a run among those that it takes turns with, or ''."""
  if not (folder / _CONFIG).is_file():
    return ''
  name = str(_read(folder).get('task') or '')
  return name if name.isprintable() else repr(name)


def what_acts(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> dict[str, Any]:
  """Returns what the policy of a run is made of, and acts in, as JSON data."""
  return _what_acts(config.describe(spec))


def differences(
  given: Any, found: Any, where: str = 'in the folder'
) -> list[str]:
  """Returns a line for each leaf in which two descriptions of a run differ.

  Args:
    given: by the command at hand.
    found: elsewhere.
    where: that is.
  """
  given = specs.flatten(json.loads(json.dumps(given)))
  found = specs.flatten(json.loads(json.dumps(found)))
  lines = []
  for path in sorted(set(given) | set(found)):
    ours, theirs = given.get(path, 'absent'), found.get(path, 'absent')
    if ours != theirs:
      lines.append(f'{path}: {theirs!r} {where}, {ours!r} now')
  return lines


def _what_acts(described: dict[str, Any]) -> dict[str, Any]:
  return {part: described.get(part) for part in _WHAT_ACTS}


def check_policy(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> None:
  """Checks that the folder's checkpoints are of this agent and environment.

  Raises:
    AnotherRunError: they are not; says in what they differ. Or a file in the
      folder is a link to one elsewhere.
  """
  _check_links(config.folder)
  try:
    found = _read(config.folder)['run']
  except DamagedConfigError as error:
    logging.error('%s Agent and environment are not compared.', error)
    return
  lines = differences(what_acts(config, spec), _what_acts(found))
  if lines:
    raise AnotherRunError(
      f'{config.folder} holds checkpoints of another agent or environment:\n  '
      + '\n  '.join(lines)
      + '\nEvaluate it by the program and the flags that trained it.'
    )


def _check_links(folder: pathlib.Path) -> None:
  """Refuses links by which a run would write to a file outside of its folder.

  A folder of somebody else's may have them.
  """
  for pattern in ('*', 'evaluations/*', 'logs/*', 'metrics/*'):
    for path in folder.glob(pattern):
      if not path.is_symlink() or path.is_dir():
        continue
      target = pathlib.Path(os.path.realpath(path))
      if not target.is_relative_to(folder):
        raise AnotherRunError(
          f'{path} is a link to {target}, which the run would write to; '
          'expected a file of the run folder. Remove the link.'
        )


def _read(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / _CONFIG
  if not path.is_file():
    raise AnotherRunError(
      f'{folder} is no run: {_held(folder)}. Name the folder that holds the '
      f"run's {_CONFIG} and checkpoints."
    )
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, RecursionError):
    found = None
  if not isinstance(found, dict) or not isinstance(found.get('run'), dict):
    raise DamagedConfigError(
      f'{path} is torn or not that of a run. The command that began the run '
      'goes on with it and writes the file anew.'
    )
  return found


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes a configuration, whole or not at all."""
  temporary = path.with_name(f'.{path.name}')
  with open(temporary, 'w', encoding='utf-8') as file:
    json.dump(content, file, indent=2)
    file.write('\n')
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def _held(path: pathlib.Path) -> str:
  """Returns what is at a path that is no run."""
  files = sorted(path.glob('*.safetensors')) if path.is_dir() else [path]
  for file in files:
    if file.suffix == '.safetensors' and file.is_file():
      return f'{file.name} holds {_format(file)}, which does not act'
  if path.is_file():
    return 'it is a file'
  return f'it has no {_CONFIG}' if path.is_dir() else 'nothing is there'


def _format(path: pathlib.Path) -> str:
  """Returns what a safetensors file says that it holds."""
  try:
    with safetensors.safe_open(path, framework='np') as file:
      header = json.loads((file.metadata() or {}).get('serl', '{}'))
  except safetensors.SafetensorError as error:
    return f'damaged arrays ({error})'
  if header.get('format') == 'serl-classifier':
    return 'a reward classifier'
  return 'arrays alone'


def _not_writable(
  folder: pathlib.Path, error: OSError | None
) -> PermissionError:
  reason = f' ({error.strerror})' if error else ''
  return PermissionError(
    f'The run folder {folder} cannot be written{reason}. Name another one, '
    'or give yourself the right to write there.'
  )
