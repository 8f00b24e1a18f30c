"""Shows a data set: python -m serl.tools.inspect_data PATH [--out FOLDER].

PATH is a folder of episodes or one of them, a pickle of SERL's demonstrations,
or a folder of RLDS. Tables of its specs, episodes and actions are printed; with
--out, overview.png and, where there are images, film_strips.png are drawn.
"""

import argparse
from collections.abc import Sequence
import os
import pathlib

from matplotlib import figure as figure_lib
import numpy as np
import rich
from rich import progress
from rich import table as rich_table

from serl import specs
from serl.demos import datasets
from serl.demos import summary as summary_lib

_FILMS = 4  # episodes shown
_FRAMES = 8  # of each
_BARS = ' ▁▂▃▄▅▆▇█'
_BINS = 16  # of an action's histogram in the table
_COLOUR = '#1f5fa8'


def tables(
  path: pathlib.Path, dataset: datasets.Dataset, found: summary_lib.Summary
) -> list[rich_table.Table]:
  """Returns what is printed: the data set, its observations, its actions."""
  return [
    _episodes_table(path, dataset.kind, found),
    _spec_table(dataset.spec, found),
    _actions_table(dataset.spec, found),
  ]


def overview(
  title: str, spec: specs.EnvironmentSpec, found: summary_lib.Summary
) -> figure_lib.Figure:
  """Draws lengths, returns and rewards of the episodes and their actions."""
  dimensions = _dimensions(spec, found)
  columns = 4
  rows = -(-len(dimensions) // columns)
  figure = figure_lib.Figure(figsize=(12, 3 + 2 * rows), layout='constrained')
  figure.suptitle(title)
  grid = figure.add_gridspec(
    1 + rows, columns, height_ratios=[1.4] + [1.0] * rows
  )
  panel = figure.add_subplot(grid[0, 0])
  panel.hist(found.lengths, bins=20, color=_COLOUR)
  panel.set(xlabel='steps', ylabel='episodes', title='lengths')
  panel = figure.add_subplot(grid[0, 1])
  panel.hist(found.returns, bins=20, color=_COLOUR)
  panel.set(xlabel='undiscounted return', ylabel='episodes', title='returns')
  panel = figure.add_subplot(grid[0, 2:])
  for reward in found.rewards:
    panel.plot(reward, color=_COLOUR, alpha=max(0.1, 1 / len(found.rewards)))
  panel.set(xlabel='step', ylabel='reward', title='rewards')
  for i, (name, values, low, high, _) in enumerate(dimensions):
    panel = figure.add_subplot(grid[1 + i // columns, i % columns])
    panel.hist(values, bins=40, range=(low, high), color=_COLOUR)
    panel.set(title=name, yticks=[])
  for panel in figure.axes:
    panel.spines[['top', 'right']].set_visible(False)
  return figure


def film_strips(found: summary_lib.Summary) -> figure_lib.Figure:
  """Draws some episodes, a row of frames for each of their cameras."""
  strips = [
    (film, camera, frames)
    for film in found.films
    for camera, frames in film.cameras.items()
  ]
  figure = figure_lib.Figure(
    figsize=(1.5 * _FRAMES, 1.85 * len(strips)), layout='constrained'
  )
  panels = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
  for panel, (film, camera, frames) in zip(panels, strips):
    _, _, width, channels = frames.shape
    gap = max(1, width // 32)
    gaps = ((0, 0), (0, 0), (0, gap), (0, 0))
    picture = np.concatenate(
      np.pad(frames[..., -3:], gaps, constant_values=255), axis=1
    )
    # Of one channel there is a grey picture, in three equal ones.
    panel.imshow(picture if channels >= 3 else picture[..., :1].repeat(3, 2))
    panel.set_title(f'{film.name}: {camera}', fontsize=8, loc='left')
    panel.set_xticks(
      np.arange(len(frames)) * (width + gap) + width / 2, film.steps
    )
    panel.tick_params(length=0, labelsize=7)
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
  return figure


def _episodes_table(
  path: pathlib.Path, kind: str, found: summary_lib.Summary
) -> rich_table.Table:
  count = len(found.lengths)
  table = rich_table.Table(title=f'{path} ({kind})', show_header=False)
  table.add_row('episodes', f'{count:,}')
  table.add_row('steps', f'{found.lengths.sum():,}')
  table.add_row('size in memory', f'{found.bytes / 1e6:,.1f} MB')
  rates = ', '.join(f'{rate:g}' for rate in found.rates)
  table.add_row('steps per second', rates or 'not told')
  table.add_row('length', _spread(found.lengths, '{:.0f}'))
  table.add_row('return', _spread(found.returns, '{:.2f}'))
  terminated = int(found.terminated.sum())
  table.add_row(
    'ended by', f'{terminated} termination, {count - terminated} time or cut'
  )
  told = found.successes[np.isfinite(found.successes)]
  table.add_row(
    'success', f'{told.sum():.0f} of {len(told)}' if len(told) else 'none told'
  )
  return table


def _spec_table(
  spec: specs.EnvironmentSpec, found: summary_lib.Summary
) -> rich_table.Table:
  table = rich_table.Table(title='Observations and extras')
  table.add_column('name', no_wrap=True)
  for name in ('dtype', 'shape', 'bounds'):
    table.add_column(name, overflow='fold')
  for name in ('least', 'mean', 'greatest'):
    table.add_column(name, justify='right')
  leaves = specs.flatten(spec.observations, 'observation')
  for path, seen in found.ranges.items():
    leaf = leaves.get(path)
    table.add_row(
      path.removeprefix('observation/'),
      '' if leaf is None else np.dtype(leaf.dtype).name,
      '' if leaf is None else str(list(leaf.shape)),
      '' if leaf is None else _bounds(leaf),
      f'{seen.least:.3g}',
      f'{seen.mean:.3g}',
      f'{seen.greatest:.3g}',
    )
  return table


def _actions_table(
  spec: specs.EnvironmentSpec, found: summary_lib.Summary
) -> rich_table.Table:
  table = rich_table.Table(title='Actions')
  table.add_column('name')
  for name in ('least', 'mean', 'greatest', 'at a bound'):
    table.add_column(name, justify='right')
  table.add_column('histogram')
  for name, values, low, high, bounded in _dimensions(spec, found):
    bound = np.isclose(values, low) | np.isclose(values, high)
    counts, _ = np.histogram(values, _BINS, (low, high))
    table.add_row(
      name,
      f'{values.min():.3f}',
      f'{values.mean():.3f}',
      f'{values.max():.3f}',
      f'{bound.mean():.0%}' if bounded else 'none',
      f'{low:g} {_bars(counts)} {high:g}',
    )
  return table


def _dimensions(
  spec: specs.EnvironmentSpec, found: summary_lib.Summary
) -> list[tuple[str, np.ndarray, float, float, bool]]:
  """Returns name, values, range and whether it is the spec's, by dimension."""
  leaves = specs.flatten(spec.actions, 'action')
  dimensions = []
  for path, values in found.actions.items():
    leaf = leaves[path]
    low, high = values.min(0), values.max(0)
    bounded = _is_bounded(leaf)
    if bounded:
      low = np.broadcast_to(leaf.minimum, leaf.shape).reshape(-1)
      high = np.broadcast_to(leaf.maximum, leaf.shape).reshape(-1)
    for i in range(values.shape[1]):
      limits = float(low[i]), float(high[i])
      dimensions.append((f'{path}[{i}]', values[:, i], *limits, bounded))
  return dimensions


def _is_bounded(leaf: specs.Array) -> bool:
  return isinstance(leaf, specs.BoundedArray) and bool(
    np.isfinite(leaf.minimum).all() and np.isfinite(leaf.maximum).all()
  )


def _spread(values: np.ndarray, form: str) -> str:
  least, middle, greatest = np.percentile(values, (0, 50, 100))
  return (
    f'{form.format(least)} to {form.format(greatest)}, '
    f'median {form.format(middle)}'
  )


def _bounds(leaf: specs.Array) -> str:
  if not isinstance(leaf, specs.BoundedArray):
    return 'none'
  return f'{np.min(leaf.minimum):g} to {np.max(leaf.maximum):g}'


def _bars(counts: np.ndarray) -> str:
  top = len(_BARS) - 1
  heights = np.ceil(top * counts / max(1, counts.max())).astype(int)
  return ''.join(_BARS[height] for height in heights)


def _save(figure: figure_lib.Figure, path: pathlib.Path) -> None:
  temporary = path.with_name(f'.{path.name}.tmp')
  figure.savefig(temporary, format='png', dpi=110)
  os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> None:
  """Shows the data set that `arguments` name."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.inspect_data',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('path', metavar='PATH', type=pathlib.Path)
  parser.add_argument(
    '--out', metavar='FOLDER', type=pathlib.Path, help='to draw the PNGs in'
  )
  parser.add_argument(
    '--success',
    choices=['yes', 'no'],
    help="of all transitions of a pickle of SERL's that a classifier is for",
  )
  flags = parser.parse_args(arguments)
  success = {'yes': True, 'no': False}.get(flags.success)
  try:
    dataset = datasets.read(flags.path, success=success)
    read = progress.track(dataset.records, 'reading', transient=True)
    found = summary_lib.summarise(
      read, dataset.spec, _FILMS if flags.out else 0, _FRAMES
    )
    for table in tables(flags.path, dataset, found):
      rich.print(table)
    if flags.out:
      flags.out.mkdir(parents=True, exist_ok=True)
      title = f'{flags.path}, {len(found.lengths)} episodes'
      pictures = {'overview.png': overview(title, dataset.spec, found)}
      if found.films:
        pictures['film_strips.png'] = film_strips(found)
      for name, figure in pictures.items():
        _save(figure, flags.out / name)
        print(flags.out / name)
  except (ImportError, OSError, ValueError) as error:
    parser.error(str(error))


if __name__ == '__main__':
  main()
