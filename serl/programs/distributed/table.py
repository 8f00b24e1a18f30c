"""What the launcher shows while a run is under way."""

from collections.abc import Sequence
import pathlib
import time
from typing import Any

import numpy as np
from rich import table as rich_table
from rich import text as rich_text

from serl.programs import config as config_lib
from serl.programs import run_folder
from serl.programs.distributed import process
from serl.programs.distributed import program as program_lib
from serl.utils import damaged
from serl.utils import loggers

_LAST_EPISODES = 20


class Progress:
  """The newest of what the nodes have written, as rows of label and value."""

  def __init__(
    self, config: config_lib.RunConfig, nodes: Sequence[program_lib.Node]
  ):
    """Initialises the progress.

    Args:
      config: of the run.
      nodes: of this launch that serve the run.
    """
    self._config = config
    self._nodes = nodes
    self._tails = {
      node.name: loggers.MetricsTail(
        loggers.metrics_path(config.folder, node.name)
      )
      for node in nodes
    }
    self._episodes: list[dict[str, Any]] = []
    self._latest: dict[str, dict[str, Any]] = {}
    self._began = time.time()
    self._damages = damaged.Reasons(config.folder)
    self._first_update: float | None = None  # of this launch, unix time
    # The first episode of each actor in this launch, by the actor.
    self._first_episodes: dict[str, dict[str, Any]] = {}

  def poll(self) -> list[str]:
    """Reads what is new; returns a line for each thing set aside as damaged."""
    for node, tail in self._tails.items():
      records = tail.poll()
      if not records:
        continue
      self._latest[node] = records[-1]
      if node.startswith('actor'):
        episodes = [r for r in records if 'fault' not in r]
        self._episodes = (self._episodes + episodes)[-_LAST_EPISODES:]
        for record in episodes:
          if record.get('time', 0.0) >= self._began:
            self._first_episodes.setdefault(node, record)
      if node == 'learner' and self._first_update is None:
        times = (r['time'] for r in records if r['time'] >= self._began)
        self._first_update = next(times, None)
    return self._damages.poll()

  def rows(self) -> list[tuple[str, str]]:
    """Returns what stands in the table, from top to bottom."""
    learner = self._latest.get('learner', {})
    evaluator = self._latest.get('evaluator', {})
    actors = [r for n, r in self._latest.items() if n.startswith('actor')]
    acted = sum(r.get('env_steps', 0) for r in actors)
    rows = [
      ('environment steps', _count(acted or learner.get('env_steps', 0))),
      ('learner steps', _count(learner.get('learner_steps', 0))),
      ('updates per step, asked', f'{self._config.updates_per_step:.2f}'),
      ('updates per step, achieved', _number(learner, 'updates_per_step')),
      ('return', self._of_episodes('episode_return', '{:.1f}')),
      ('success', self._success()),
      *self._where_told('by hand', 'intervened', '{:.0%} of the steps'),
      *self._where_told('rescues', 'rescues', '{:.0%}'),
      ('evaluation', _evaluation(evaluator)),
      ("age of the actor's parameters", _age(actors)),
      *_sizes(learner),
      *_damaged(self._config.folder),
      *self._devices(),
      ('time left', self._time_left(acted)),
    ]
    if 'divergence' in learner:
      rows.append(('WARNING', learner['divergence']))
    for node in self._nodes:
      said = process.read_status(*node)
      if said.text:
        rows.append((node.name, str(said)))
    return rows

  def render(self) -> rich_table.Table:
    """Returns the live table."""
    elapsed = time.strftime('%H:%M:%S', time.gmtime(time.time() - self._began))
    table = rich_table.Table(
      title=f'{self._config.folder.name}  {elapsed}', show_header=False
    )
    for label, value in self.rows():
      # Of the text of a fault nothing is markup.
      table.add_row(label, rich_text.Text(value))
    return table

  def line(self) -> str:
    """Returns the same as one line."""
    shown = ', '.join(f'{label} {value}' for label, value in self.rows())
    return f'[{time.time() - self._began:.0f} s] {shown}'

  def _devices(self) -> list[tuple[str, str]]:
    """Returns the row of the nodes' devices, once they have started."""
    found = {
      node.name: process.read_device(*node)
      for node in self._nodes
      if process.read_device(*node)
    }
    told = ', '.join(f'{name} {device}' for name, device in found.items())
    return [('device', told)] if told else []

  def _where_told(
    self, label: str, name: str, form: str
  ) -> list[tuple[str, str]]:
    """Returns the row of a metric that only some episodes have."""
    if not any(name in episode for episode in self._episodes):
      return []
    return [(label, self._of_episodes(name, form))]

  def _of_episodes(self, name: str, form: str) -> str:
    values = [e[name] for e in self._episodes if name in e]
    if not values:
      return '-'
    return f'{form.format(np.mean(values))} over {len(values)} episodes'

  def _success(self) -> str:
    if self._episodes and not any('success' in e for e in self._episodes):
      return 'none defined by the task'
    return self._of_episodes('success', '{:.0%}')

  def _time_left(self, acted: float) -> str:
    left = []
    if self._config.time_limit_s is not None:
      trained = time.time() - (self._first_update or time.time())
      left.append(self._config.time_limit_s - trained)
    rate = self._steps_per_second()
    if acted and rate:
      left.append((self._config.max_env_steps - acted) / rate)
    if not left:
      return '-'
    clock = time.strftime('%H:%M:%S', time.gmtime(max(0, min(left))))
    return f'at most {clock}'

  def _steps_per_second(self) -> float:
    """Returns at what rate the actors take steps, with all that they wait."""
    rate = 0.0
    for node, first in self._first_episodes.items():
      last = self._latest[node]
      seconds = last.get('time', 0.0) - first.get('time', 0.0)
      steps = last.get('env_steps', 0) - first.get('env_steps', 0)
      rate += steps / seconds if steps > 0 and seconds > 0 else 0.0
    return rate


def _damaged(folder: pathlib.Path) -> list[tuple[str, str]]:
  count = run_folder.damaged_episodes(folder)
  return [('damaged episodes, set aside', _count(count))] if count else []


def _count(value: float) -> str:
  return f'{int(value):,}'


def _number(record: dict[str, Any], name: str) -> str:
  return f'{record[name]:.2f}' if name in record else '-'


def _evaluation(record: dict[str, Any]) -> str:
  names = ('episodes', 'episode_return', 'learner_steps')
  if any(name not in record for name in names):
    return '-'
  success = 'no success defined'
  if 'successes' in record:
    success = f'{record["successes"]:.0f} of {record["episodes"]:.0f}'
  return (
    f'{success}, return {record["episode_return"]:.1f}, at learner step '
    f'{_count(record["learner_steps"])}'
  )


def _age(actors: list[dict[str, Any]]) -> str:
  ages = [record['params_age'] for record in actors if 'params_age' in record]
  return f'{max(ages):.1f} s' if ages else '-'


def _sizes(record: dict[str, Any]) -> list[tuple[str, str]]:
  suffix = '_size'
  return [
    (f'transitions, {name.removesuffix(suffix)}', _count(value))
    for name, value in record.items()
    if name.endswith(suffix)
  ]
