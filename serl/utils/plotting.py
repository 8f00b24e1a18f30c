"""Draws how a run, or several seeds of it, went."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import NamedTuple

from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import ticker
import numpy as np

from serl.utils import loggers

_WINDOW = 20  # training episodes in a running mean
_EVALUATION = '#1f5fa8'
_TRAINING = '#e08214'
_LEARNER = '#4d7f4a'
_ASKED = '#777777'
_HELD_OUT = '#a3312a'
_POINTS = 400  # of a median line
_UNITS = {
  'elapsed': 'minutes',
  'env_steps': 'environment steps',
  'learner_steps': 'learner steps',
}


class _Curve(NamedTuple):
  """One line of one run."""

  x: np.ndarray  # [N], ascending
  y: np.ndarray  # [N]


class _Records(NamedTuple):
  """What the nodes of a run wrote, as one column a metric."""

  episodes: Mapping[str, np.ndarray]  # of all actors, in the order of time
  evaluator: Mapping[str, np.ndarray]
  learner: Mapping[str, np.ndarray]


def learning_curve(
  runs: Sequence[str | os.PathLike], path: str | os.PathLike
) -> None:
  """Draws runs, as `make_figure` does, to a PNG file.

  Args:
    runs: run folders.
    path: of the picture; an old one is replaced.

  Raises:
    FileNotFoundError: a run has no metrics.
  """
  _save(make_figure(runs), path)


def interventions(
  columns: Mapping[str, np.ndarray], path: str | os.PathLike
) -> None:
  """Draws how often, how long and how well a person overruled a policy.

  Args:
    columns: an entry an episode, NaN where there is none: 'env_steps' at its
      end; 'rate', the share of its steps that were overruled; 'length', the
      mean steps of an intervention; 'advantage', how much better than the
      policy's the person's actions were on average; 'positive', the share of
      them that were better.
    path: of the PNG file; an old one is replaced.
  """
  figure = figure_lib.Figure(figsize=(13, 4), layout='constrained')
  rate, length, advantage = figure.subplots(1, 3)
  _draw_episodes(rate, columns, 'rate', 'share of the steps overruled')
  _draw_episodes(length, columns, 'length', 'steps of an intervention')
  _draw_episodes(
    advantage, columns, 'advantage', 'advantage over what the policy would do'
  )
  rate.set_ylim(-0.04, 1.04)
  rate.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
  length.set_ylim(bottom=0)
  positive = _running_mean(_curve(columns, 'positive', 'env_steps'))
  if positive is not None:
    advantage.axhline(0.0, color=_ASKED, linewidth=1.0, linestyle='--')
    share = advantage.twinx()
    share.plot(*positive, color=_LEARNER, linewidth=1.2)
    share.set_ylim(-0.04, 1.04)
    share.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    share.set_ylabel('better than the policy', color=_LEARNER)
    share.spines[['top']].set_visible(False)
  _save(figure, path)


def _save(figure: figure_lib.Figure, path: str | os.PathLike) -> None:
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.tmp')
  figure.savefig(temporary, format='png', dpi=110)
  os.replace(temporary, path)


def make_figure(runs: Sequence[str | os.PathLike]) -> figure_lib.Figure:
  """Draws success, return and the learner's metrics of runs.

  Several runs are taken for several seeds: each is a thin line, their median a
  thick one, in which a run that has ended counts on with its last value: it
  ends when it has succeeded. What was not recorded is said in its panel.

  Args:
    runs: run folders.

  Raises:
    FileNotFoundError: a run has no metrics.
  """
  if not runs:
    raise ValueError('no run to draw; name at least one run folder')
  records = [_read(pathlib.Path(run)) for run in runs]
  figure = figure_lib.Figure(figsize=(12, 13), layout='constrained')
  names = ', '.join(pathlib.Path(run).resolve().name for run in runs)
  figure.suptitle(names if len(runs) < 4 else f'{len(runs)} runs', fontsize=14)
  grid = figure.add_gridspec(4, 6, height_ratios=(1.25, 1.25, 1, 1))
  offline = any(_measures(record) for record in records)
  steps = 'learner_steps' if offline else 'env_steps'
  for row, metric in enumerate(('success', 'episode_return')):
    for column, unit in enumerate(('elapsed', steps)):
      panel = figure.add_subplot(grid[row, 3 * column : 3 * column + 3])
      _draw_progress(panel, records, metric, unit)
  panels = [
    figure.add_subplot(grid[2 + i // 3, 2 * (i % 3) : 2 * (i % 3) + 2])
    for i in range(6)
  ]
  if offline:
    _draw_measures(panels, records)
    return figure
  _draw_learner(panels[0], records, 'critic_loss', 'critic loss', log=True)
  _draw_learner(panels[1], records, 'actor_loss', 'actor loss')
  _draw_learner(panels[2], records, 'entropy', 'entropy of the policy (nats)')
  _draw_learner(panels[3], records, 'temperature', 'temperature', log=True)
  _draw_ratio(panels[4], records)
  _draw_age(panels[5], records)
  return figure


def _read(run: pathlib.Path) -> _Records:
  nodes = [path.stem for path in run.glob('metrics/*.jsonl')]
  if not nodes:
    raise FileNotFoundError(
      f'{run} has no metrics/*.jsonl; expected the folder of a run'
    )
  episodes = [
    record
    for node in nodes
    if node.startswith('actor')
    for record in loggers.read_metrics(run, node)
  ]
  episodes.sort(key=lambda record: record.get('time', 0.0))
  columns = _columns(episodes)
  if 'episode_length' in columns:
    # Each actor counts its own steps; these are those of all actors.
    columns['env_steps'] = np.nancumsum(columns['episode_length'])
  return _Records(
    episodes=columns,
    evaluator=_columns(loggers.read_metrics(run, 'evaluator')),
    learner=_columns(loggers.read_metrics(run, 'learner')),
  )


def _columns(
  records: Sequence[Mapping[str, float]],
) -> dict[str, np.ndarray]:
  """Returns a column for each metric, NaN where a record has it not."""
  names = {
    name
    for record in records
    for name, value in record.items()
    if not isinstance(value, str)
  }
  return {
    name: np.array([r.get(name, np.nan) for r in records], float)
    for name in names
  }


def _curve(
  columns: Mapping[str, np.ndarray], metric: str, unit: str = 'elapsed'
) -> _Curve | None:
  """Returns the finite points of a metric, None if there is none."""
  if metric not in columns or unit not in columns:
    return None
  x, y = columns[unit], columns[metric]
  finite = np.isfinite(x) & np.isfinite(y)
  if not finite.any():
    return None
  x, y = x[finite], y[finite]
  order = np.argsort(x, kind='stable')
  return _Curve(x[order] / 60 if unit == 'elapsed' else x[order], y[order])


def _running_mean(curve: _Curve | None) -> _Curve | None:
  if curve is None:
    return None
  sums = np.concatenate([[0.0], np.cumsum(curve.y)])
  end = np.arange(1, len(curve.y) + 1)
  begin = np.maximum(end - _WINDOW, 0)
  return _Curve(curve.x, (sums[end] - sums[begin]) / (end - begin))


def _median(curves: Sequence[_Curve]) -> _Curve | None:
  """Returns the median line, from where half of the curves have begun."""
  begin = np.median([curve.x[0] for curve in curves])
  end = max(curve.x[-1] for curve in curves)
  if end <= begin:
    return None
  x = np.linspace(begin, end, _POINTS)
  # A run that has ended goes on as it ended: without it the median would jump.
  y = [np.interp(x, curve.x, curve.y, left=np.nan) for curve in curves]
  return _Curve(x, np.nanmedian(y, axis=0))


def _draw_runs(
  panel: axes_lib.Axes,
  curves: Sequence[_Curve | None],
  color: str,
  label: str,
  style: str = '-',
  marker: str = '',
  width: float = 1.6,
) -> None:
  """Draws one line a run, and their median where there are several."""
  drawn = [curve for curve in curves if curve is not None]
  if not drawn:
    return
  median = _median(drawn) if len(drawn) > 1 else None
  alone = median is None
  for i, curve in enumerate(drawn):
    panel.plot(
      curve.x,
      curve.y,
      style,
      marker=marker if alone or len(curve.x) == 1 else '',
      markersize=4,
      color=color,
      linewidth=width if alone else 0.8,
      alpha=1.0 if alone else 0.45,
      label=label if alone and i == 0 else None,
    )
  if median is not None:
    text = f'{label}, median of {len(drawn)}'
    panel.plot(*median, style, color=color, linewidth=width + 0.8, label=text)


def _draw_episodes(
  panel: axes_lib.Axes,
  columns: Mapping[str, np.ndarray],
  metric: str,
  title: str,
) -> None:
  """Draws a dot an episode and their running mean, by environment steps."""
  curve = _curve(columns, metric, 'env_steps')
  if curve is not None:
    dots = {'color': _TRAINING, 'alpha': 0.5, 'markersize': 4}
    panel.plot(*curve, 'o', label='an episode', **dots)
    label = f'mean of {_WINDOW} episodes'
    panel.plot(*_running_mean(curve), color=_EVALUATION, label=label)
  panel.set_title(title)
  _label(panel, _UNITS['env_steps'])


def _draw_progress(
  panel: axes_lib.Axes, records: Sequence[_Records], metric: str, unit: str
) -> None:
  training = [_running_mean(_curve(r.episodes, metric, unit)) for r in records]
  _draw_runs(
    panel,
    training,
    _TRAINING,
    f'training, mean of {_WINDOW} episodes',
    width=1.0,
  )
  evaluation = [_curve(r.evaluator, metric, unit) for r in records]
  _draw_runs(
    panel, evaluation, _EVALUATION, 'evaluation', marker='o', width=1.8
  )
  if metric == 'success':
    panel.set_ylim(-0.04, 1.04)
    panel.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
  title = {'success': 'success rate', 'episode_return': 'return of an episode'}
  panel.set_title(title[metric])
  has_episodes = any(r.episodes or r.evaluator for r in records)
  absent = 'the task defines no success' if has_episodes else 'not recorded'
  _label(panel, _UNITS[unit], absent=absent)


def _draw_learner(
  panel: axes_lib.Axes,
  records: Sequence[_Records],
  metric: str,
  title: str,
  log: bool = False,
) -> None:
  curves = [_curve(r.learner, metric) for r in records]
  _draw_runs(panel, curves, _LEARNER, 'learner', width=1.2)
  lowest = [curve.y.min() for curve in curves if curve is not None]
  if log and lowest and min(lowest) > 0:
    panel.set_yscale('log')
  panel.set_title(title)
  _label(panel, legend=len(records) > 1)


def _measures(record: _Records) -> set[str]:
  """Returns what a run without actors measured, as TABLE/MEASURE.

  The losses that a loss is the sum of are left out.
  """
  return {
    name.partition('/')[2]
    for name in record.learner
    if name.startswith('training/') and not name.endswith('_loss')
  }


def _draw_measures(
  panels: Sequence[axes_lib.Axes], records: Sequence[_Records]
) -> None:
  """Draws what a run without actors measures of steps it trains with or not."""
  parts = (('training', _LEARNER), ('held_out', _HELD_OUT))
  names = set().union(*map(_measures, records))
  for panel, name in zip(panels, sorted(names)):
    for part, color in parts:
      curves = [_curve(r.learner, f'{part}/{name}') for r in records]
      _draw_runs(panel, curves, color, part.replace('_', ' '), width=1.2)
    table, _, measure = name.partition('/')
    panel.set_title(f'{measure}, {table}'.replace('_', ' '))
    _label(panel)
  for panel in panels[len(names) :]:
    panel.set_visible(False)


def _draw_ratio(panel: axes_lib.Axes, records: Sequence[_Records]) -> None:
  achieved = [_curve(r.learner, 'updates_per_step') for r in records]
  asked = [_curve(r.learner, 'updates_per_step_asked') for r in records]
  _draw_runs(panel, asked, _ASKED, 'asked', style='--', width=1.2)
  _draw_runs(panel, achieved, _LEARNER, 'achieved', width=1.2)
  panel.set_title('critic updates per environment step')
  panel.set_ylim(bottom=0)
  _label(panel)


def _draw_age(panel: axes_lib.Axes, records: Sequence[_Records]) -> None:
  ages = [_running_mean(_curve(r.episodes, 'params_age')) for r in records]
  _draw_runs(panel, ages, _TRAINING, f'mean of {_WINDOW} episodes', width=1.0)
  panel.set_title("age of the actors' parameters (s)")
  panel.set_ylim(bottom=0)
  _label(panel)


def _label(
  panel: axes_lib.Axes,
  unit: str = 'minutes',
  legend: bool = True,
  absent: str = 'not recorded',
) -> None:
  """Adds what every panel has; says so where there is nothing to see."""
  panel.set_xlabel(unit)
  panel.grid(True, color='#dddddd', linewidth=0.6)
  panel.set_axisbelow(True)
  panel.spines[['top', 'right']].set_visible(False)
  if not panel.lines:
    panel.text(
      0.5,
      0.5,
      absent,
      transform=panel.transAxes,
      ha='center',
      va='center',
      color='#999999',
    )
    panel.set_xticks([])
    panel.set_yticks([])
    return
  panel.set_xlim(left=0)
  if unit != 'minutes':
    panel.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  if legend:
    panel.legend(fontsize=8, frameon=False)
