"""Draws how long the steps of a run on the real arm took, and which were late.

It shows too how old the state and the pictures were when they were acted on.

python -m serl.tools.latency RUN

RUN is the folder of a run, or any folder of episodes. What is drawn is what the
environment told with every step, on the robot's side of the run.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
import os
import pathlib

from matplotlib import figure as figure_lib
import numpy as np
import rich
from rich import table as rich_table

from serl import types
from serl.demos import files

_NAME = 'latency.png'
_TIMES = ('capture_time', 'inference_time', 'command_time')
_ACKNOWLEDGED, _LATE = 'acknowledgement_time', 'late'
COMMAND = 'command to acknowledgement'
STATE_AGE = 'age of the state, at the command'
FRAME_AGE = 'age of the oldest picture, at the command'
PERIOD = 'from observation to observation'
# From one time to the next.
_PARTS = {
  'observation and inference': ('capture_time', 'inference_time'),
  'preparation': ('inference_time', 'command_time'),
  COMMAND: ('command_time', _ACKNOWLEDGED),
}
# Likewise; not every episode tells where they begin.
_AGES = {
  STATE_AGE: ('state_time', 'command_time'),
  FRAME_AGE: ('frame_time', 'command_time'),
}
_DRAWN = (*_PARTS, *_AGES, PERIOD)
_BINS = 60


def read(paths: Iterable[pathlib.Path]) -> dict[str, np.ndarray]:
  """Returns what the steps of episodes took.

  Args:
    paths: of the episodes, in order.

  Returns:
    The parts of each of the N steps by name, [N] ms; the ages of what was
    acted on, NaN where an episode does not tell them; the time from one
    observation to the next, NaN for the last step of an episode; and 'late',
    [N] bool.

  Raises:
    ValueError: no episode tells its times.
  """
  found = [
    durations(episode.extras)
    for episode in (files.read(path)[0] for path in paths)
    if _tells(episode)
  ]
  if not found:
    raise ValueError(
      'no episode tells its times; they come with episodes of the real arm or '
      "its twin, recorded with the environment's step_extras"
    )
  return {
    name: np.concatenate([columns[name] for columns in found])
    for name in found[0]
  }


def durations(extras: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns what the T steps of an episode took, [T] each; see `read`."""
  unknown = np.full(len(extras[_LATE]), np.nan)
  columns = {
    name: 1e3 * (extras[end] - extras.get(start, unknown))
    for name, (start, end) in {**_PARTS, **_AGES}.items()
  }
  captured = np.append(extras['capture_time'], np.nan)
  columns[PERIOD] = 1e3 * np.diff(captured)
  columns[_LATE] = np.asarray(extras[_LATE], bool)
  return columns


def _tells(episode: types.Episode) -> bool:
  return {*_TIMES, _ACKNOWLEDGED, _LATE} <= episode.extras.keys()


def make_figure(
  title: str, steps: Mapping[str, np.ndarray]
) -> figure_lib.Figure:
  """Draws a histogram of each part and the misses along the run."""
  figure = figure_lib.Figure(figsize=(10, 15), layout='constrained')
  figure.suptitle(title)
  panels = figure.subplots(len(_DRAWN) + 1, 1)
  for panel, name in zip(panels, _DRAWN):
    values = steps[name][np.isfinite(steps[name])]
    if len(values):
      panel.hist(values, bins=_BINS, color='#1f5fa8')
      panel.axvline(np.percentile(values, 99), color='#a3312a', ls='--')
    panel.set_yscale('symlog')
    panel.set_ylim(bottom=0)
    panel.set_xlabel(f'{name} (ms); dashed: 99 % are shorter')
    panel.set_ylabel('steps')
  late = np.cumsum(steps[_LATE])
  panels[-1].plot(np.arange(1, len(late) + 1), late, color='#a3312a')
  panels[-1].set_ylim(0, max(1, 1.05 * late[-1]))
  panels[-1].set_xlabel('step of the run')
  panels[-1].set_ylabel('late until then')
  for panel in panels:
    panel.spines[['top', 'right']].set_visible(False)
  return figure


def make_table(steps: Mapping[str, np.ndarray]) -> rich_table.Table:
  """Returns percentiles of each part, and how many steps were late."""
  late = steps[_LATE]
  table = rich_table.Table(
    title=f'{late.sum():,} of {len(late):,} steps late ({late.mean():.2%})'
  )
  table.add_column('ms')
  for head in ('50 %', '90 %', '99 %', 'longest'):
    table.add_column(head, justify='right')
  for name in _DRAWN:
    values = steps[name][np.isfinite(steps[name])]
    ranks = np.percentile(values, (50, 90, 99, 100)) if len(values) else ()
    table.add_row(name, *(f'{rank:.1f}' for rank in ranks))
  return table


def _episodes(run: pathlib.Path) -> list[pathlib.Path]:
  """Returns the paths of the run's episodes, those of all actors."""
  actors = sorted((run / 'episodes').glob('*/'))
  if not actors:
    return files.paths(run)
  return [path for folder in actors for path in files.find(folder)]


def main(arguments: Sequence[str] | None = None) -> None:
  """Draws the run that `arguments` name, and prints where the picture is."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.latency',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('run', metavar='RUN', type=pathlib.Path)
  parser.add_argument(
    '--output',
    metavar='FILE.png',
    type=pathlib.Path,
    help=f'default: {_NAME} in RUN',
  )
  flags = parser.parse_args(arguments)
  output = flags.output or flags.run / _NAME
  try:
    steps = read(_episodes(flags.run))
    temporary = output.with_name(f'.{output.name}.tmp')
    make_figure(str(flags.run), steps).savefig(temporary, format='png', dpi=110)
    os.replace(temporary, output)
  except (OSError, ValueError) as error:
    parser.error(str(error))
  rich.print(make_table(steps))
  print(output)


if __name__ == '__main__':
  main()
