"""Converts data sets: python -m serl.tools.convert_data IN OUT [--to FORMAT].

IN is a folder of episodes, a pickle of SERL's demonstrations or a folder of
RLDS; its format is found out. OUT is a new folder: of episodes, which training
reads; of RLDS (needs tensorflow-datasets); or a LeRobotDataset v3.0 (needs
pyarrow). It appears whole or not at all, and nothing is overwritten.

  convert_data franka_lift_cube_image_20_trajs.pkl demos --task=pick_cube_vision
"""

import argparse
import collections
from collections.abc import Iterable, Iterator, Sequence
import pathlib
import typing
from typing import Any

from rich import progress

from serl import specs
from serl.demos import datasets
from serl.demos import fields
from serl.demos import files
from serl.demos import imported
from serl.demos import records
from serl.demos import rlds_steps

_FORMATS = ('episodes', 'rlds', 'lerobot')


def convert(flags: argparse.Namespace) -> list[str]:
  """Converts what `flags` say; returns what is to be told of it, by lines."""
  spec = None if flags.task is None else _task_spec(flags.task)
  success = None if flags.success is None else flags.success == 'yes'
  choice = fields.Choice(tuple(flags.keep), tuple(flags.drop))
  dataset = datasets.read(
    flags.source, spec, flags.time_limit, success, flags.last_step, choice
  )
  tally: collections.Counter[str] = collections.Counter()
  changes = imported.Changes()
  found = records.rated(dataset.records, flags.steps_per_second)
  found = _tallied(found, tally, changes)
  shown = progress.track(found, f'{dataset.kind} to {flags.to}')
  if flags.to == 'episodes':
    datasets.write(flags.folder, shown, dataset.spec)
  # Each of these formats has its package, which the others do without.
  elif flags.to == 'rlds':
    from serl.demos import rlds

    rlds.write(flags.folder, shown, dataset.spec)
  else:
    from serl.demos import lerobot

    lerobot.write(flags.folder, shown, dataset.spec, flags.instruction)
  lines = _report(flags, dataset.kind, tally)
  if dataset.kind != datasets.EPISODES:  # which remember what happened to them
    lines += changes.lines()
  return lines


def _task_spec(task: str) -> specs.EnvironmentSpec:
  # MuJoCo stands behind this import, which data do not need.
  from serl.environments.sim import tasks

  environment = tasks.make(task)
  try:
    return specs.make_environment_spec(environment)
  finally:
    environment.close()


def _tallied(
  found: Iterable[records.Record],
  tally: collections.Counter[str],
  changes: imported.Changes,
) -> Iterator[records.Record]:
  for record in found:
    tally['episodes'] += 1
    tally['steps'] += record.episode.length
    tally[f'end {record.metadata.get("end", "")}'] += 1
    changes.add(record)
    yield record


def _report(
  flags: argparse.Namespace, kind: str, tally: collections.Counter[str]
) -> list[str]:
  lines = [
    f'{flags.folder}: {tally["episodes"]} episodes, {tally["steps"]} steps'
  ]
  if kind == datasets.SERL_PICKLE:
    lines.append(
      f'ended by: {tally["end time_limit"]} time limit, '
      f'{tally["end termination"]} termination, {tally["end cut"]} cut off'
    )
    if tally['end termination'] and flags.time_limit is None:
      lines.append(
        'the terminations have a discount of 0; if episodes were also ended by '
        'a limit of N steps, which the file does not tell: --time-limit=N'
      )
  return lines


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.convert_data',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('source', metavar='IN', type=pathlib.Path)
  parser.add_argument('folder', metavar='OUT', type=pathlib.Path)
  parser.add_argument('--to', choices=_FORMATS, default='episodes')
  parser.add_argument(
    '--task',
    metavar='NAME',
    help='a simulated task, as serl.tools.view takes it: the data are made to '
    'fit its spec, so that they train in it',
  )
  parser.add_argument(
    '--time-limit',
    metavar='N',
    type=_positive,
    help='of a pickle: episodes of N steps were ended by the clock, not by the '
    'task, and are bootstrapped from',
  )
  parser.add_argument(
    '--success',
    choices=('yes', 'no'),
    help='of a pickle for the reward classifier: what all its transitions are',
  )
  parser.add_argument(
    '--last-step',
    choices=typing.get_args(rlds_steps.LastStep),
    help="of RLDS: an episode's last step is an observation alone (observed; "
    'SERL logs it so), or has an action and a reward (acted; Open-X publishes '
    'it so); by default what is there decides',
  )
  for name, kept in (('keep', 'only these'), ('drop', 'all but these')):
    parser.add_argument(
      f'--{name}',
      metavar='FIELD,...',
      type=_names,
      action='extend',
      default=[],
      help=f'fields of the observation, {kept} are read, as wrist_2 or '
      'observation/wrist_2; of RLDS those of the action, too, as action/arm: '
      'several that are kept become one vector, in this order',
    )
  parser.add_argument(
    '--steps-per-second',
    metavar='HZ',
    type=_rate,
    help='rate of the recording, for data without one in their headers: all '
    'that is not recorded by this project, or by a version before it was kept. '
    'LeRobot needs it',
  )
  parser.add_argument(
    '--instruction',
    metavar='TEXT',
    help='for lerobot: the task as one would tell a person',
  )
  flags = parser.parse_args(arguments)
  if flags.to == 'lerobot' and not flags.instruction:
    parser.error('--to=lerobot needs an --instruction, as "lift the cube"')
  flags.error = parser.error
  return flags


def _positive(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f'{value}, expected at least 1')
  return value


def _names(text: str) -> list[str]:
  return [name.strip() for name in text.split(',') if name.strip()]


def _rate(text: str) -> float:
  value = float(text)
  try:
    files.check_rate(value)
  except ValueError as error:
    raise argparse.ArgumentTypeError(str(error)) from error
  return value


def main(arguments: Sequence[str] | None = None) -> None:
  """Converts the data set that `arguments` name."""
  flags: Any = _parse(arguments)
  try:
    lines = convert(flags)
  except (ImportError, OSError, ValueError) as error:
    flags.error(str(error))
  print('\n'.join(lines))


if __name__ == '__main__':
  main()
