"""The command line that makes a run's agent and environment again.

A run folder may come from anybody. What its config.json says is data: the name
of a program of the examples, and values of the flags in `_KEPT`. No file that
it names is run. The user names such a file on a command line of their own.
"""

from collections.abc import Sequence
import os
import pathlib
import re
import sys

from serl.programs import run_folder

# The examples that train by `programs.command`.
_EXAMPLES = (
  'bc_sim.py',
  'bins_relocate.py',
  'cable_route.py',
  'drq_sim.py',
  'own_agent.py',
  'pcb_insert.py',
  'peg_insert.py',
  'rlpd_drq_sim.py',
  'rlpd_state_sim.py',
  'sac_state_sim.py',
  'vice_sim.py',
)
_SWITCH = r'true|false'
_WORDS = r'[a-z][a-z0-9_]*(,[a-z][a-z0-9_]*)*'
_INTEGER = r'-?[0-9]{1,18}'
_NUMBER = r'[-+]?[0-9.]{1,30}(e[-+]?[0-9]{1,3})?'
# Of files that are read as arrays, never run.
_PATH = r'[^-\x00-\x1f\x7f\ud800-\udfff][^\x00-\x1f\x7f\ud800-\udfff]*'
# The flags that a folder may set, which agent and environment depend on.
_KEPT = {
  'agent': _WORDS,
  'classifier': _PATH,
  'classifier-weights': _PATH,
  'cloning': _NUMBER,
  'encoder': _WORDS,
  'goals': _INTEGER,
  'http': _SWITCH,
  'image-size': _INTEGER,
  'images': _SWITCH,
  'preset': _WORDS,
  'seed': _INTEGER,
  'task': _WORDS,
  'twin': _SWITCH,
  'weights': _PATH,
}
# Those that neither depends on, which are left out, and the switches of them.
_LEFT_SWITCHES = (
  'accept-poor-classifier',
  'keep-ratio',
  'local',
  'resume',
  'stop-at-success',
  'video',
  'wandb',
)
_LEFT = (
  'classifier-episodes',
  'classifier-steps',
  'correct-after',
  'demo-episodes',
  'demos',
  'evaluate',
  'evaluation-episodes',
  'evaluation-period',
  'fault-minutes',
  'interventions',
  'intervene',
  'intervene-scale',
  'key-file',
  'learner-host',
  'live-port',
  'max-env-steps',
  'max-learner-steps',
  'minutes',
  'on-accelerator',
  'port-base',
  'replay',
  'reset-limit',
  'role',
  'run',
  'start-minutes',
  'step',
  'step-limit',
  'steps-per-second',
  'stop-at-return',
  'token-file',
  'updates-per-step',
)
_SWITCHES = (
  *_LEFT_SWITCHES,
  *(name for name, form in _KEPT.items() if form is _SWITCH),
)


def command_line(
  folder: pathlib.Path,
  examples: pathlib.Path,
  program: pathlib.Path | None = None,
  flags: Sequence[str] = (),
) -> list[str]:
  """Returns the command line of the program that trained a run.

  Of two equal flags the last one counts, so that some which train nothing can
  follow.

  Args:
    folder: of the run.
    examples: the folder of the examples, one of which is looked for there.
    program: the user's own program; None for one of the examples.
    flags: the user's own, each --NAME=VALUE, --NAME or --noNAME. They replace
      those of the folder.

  Raises:
    AnotherRunError: the folder holds no run, or one that takes turns with
      others, or its program is no example, or it sets a flag that it may not.
  """
  name, *arguments = run_folder.command(folder)
  if task := run_folder.task(folder):
    raise run_folder.AnotherRunError(
      f'{folder} is one of several runs that took turns. Name the folder that '
      f'they share, {folder.resolve().parent}; of a checkpoint of this one '
      f'alone, --step={task}:STEP.'
    )
  if program is None:
    if name not in _EXAMPLES:
      raise run_folder.AnotherRunError(
        f'{folder} was trained by {name!r}, which is not one of the examples '
        f'in {examples}, and no file that a run folder names is run. Call that '
        'program with its own flags, and with --evaluate=20 or '
        '--interventions=FILE.png.'
      )
    program = examples / name
  given = [_split(flag)[0] for flag in flags]
  kept = _kept(folder, arguments, given)
  return [
    sys.executable,
    str(program.expanduser().resolve()),
    *(f'--{flag}={value}' for flag, value in kept.items()),
    *flags,
    f'--run={folder}',
  ]


def _kept(
  folder: pathlib.Path, arguments: Sequence[str], given: Sequence[str]
) -> dict[str, str]:
  """Returns the flags of a run folder that are not `given`, with their values.

  Raises:
    AnotherRunError: there is another flag, or the value is of another form.
  """
  kept = {}
  left = list(arguments)
  while left:
    flag, value = _split(left.pop(0))
    if flag not in (*_KEPT, *_LEFT, *_LEFT_SWITCHES, *given):
      raise run_folder.AnotherRunError(
        f'The config.json of {folder} sets {flag!r}, which a run folder may '
        f'not: expected one of --{", --".join(_KEPT)}. If you know the flag '
        'and its value, repeat it yourself, last on the command line: '
        '-- --NAME=VALUE.'
      )
    if value is None:
      value = 'true' if flag in _SWITCHES else left.pop(0) if left else ''
    if flag in given or flag not in _KEPT:
      continue
    if not re.fullmatch(_KEPT[flag], value) or not _is_data(flag, value):
      raise run_folder.AnotherRunError(_refusal(folder, flag, value))
    kept[flag] = value
  return kept


def _split(argument: str) -> tuple[str, str | None]:
  """Returns the name and the value of a flag, None where it has none."""
  name, is_assigned, value = argument.partition('=')
  if not name.startswith('-'):
    return argument, None
  name = name.removeprefix('-').removeprefix('-')
  if not is_assigned and name.removeprefix('no') in _SWITCHES:
    return name.removeprefix('no'), str(not name.startswith('no')).lower()
  if is_assigned and name in _SWITCHES:
    switched = {'1': 'true', 't': 'true', '0': 'false', 'f': 'false'}
    value = switched.get(value.lower(), value.lower())
  return name, value if is_assigned else None


def _is_data(flag: str, value: str) -> bool:
  """Returns whether what a path leads to can be read to its end."""
  if _KEPT[flag] is not _PATH:
    return True
  path = os.path.expanduser(value)
  return not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path)


def _refusal(folder: pathlib.Path, flag: str, value: str) -> str:
  if flag == 'task':
    return (
      f'{folder} was trained on the task {value!r}, and no file that a run '
      'folder names is run. Name the file of your own: --task=FILE.py.'
    )
  return (
    f'The config.json of {folder} sets --{flag} to {value!r}, expected '
    + {
      _SWITCH: 'true or false',
      _WORDS: 'names',
      _INTEGER: 'an integer',
      _NUMBER: 'a number',
      _PATH: 'the path of a regular file or of a folder',
    }[_KEPT[flag]]
    + '.'
  )
