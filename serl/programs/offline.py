"""A run on demonstrations alone: no actor, no environment in the loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import math
import time

from absl import logging
import jax
import numpy as np

from serl import specs
from serl import types
from serl.programs import config as config_lib
from serl.programs import evaluation as evaluation_lib
from serl.programs import interrupt
from serl.programs import report
from serl.programs import run_folder
from serl.programs import training as training_lib
from serl.programs import watchdog
from serl.replay import local as local_replay
from serl.utils import loggers

_EVALUATION_SEED_OFFSET = 10_000  # as in the programs that act
# Episodes by the names of their sources.
_Episodes = Mapping[str, Sequence[types.Episode]]

_TRAINING, _HELD_OUT = 'training', 'held_out'


def run_offline(
  config: config_lib.RunConfig | config_lib.AlternatingRuns,
) -> report.Summary | dict[str, report.Summary]:
  """Trains in this process from the run's demonstrations.

  Runs that alternate are trained one after the other.

  The run folder and what resuming means are those of `run_local`. Some
  episodes are held out: they are never trained with, and measured beside
  as many others. With `config.evaluate` the policy acts in the environment
  now and then.

  Args:
    config: of the run; its builder is an `agents.builder.OfflineBuilder`.

  Returns:
    What came of the run, or of the runs by their tasks. After a Ctrl-C the
    rest of them is not begun.

  Raises:
    AnotherRunError: the folder is another run's.
    ValueError: the agent needs an environment to learn, or the demonstrations
      do not fit or hold nothing for one of its tables.
  """
  runs = config_lib.runs_of(config)
  for run in runs.values():
    if not run.offline:
      online = next(
        table.name
        for table in training_lib.tables(run)
        if not table.is_demonstrated
      )
      raise ValueError(
        f'The agent draws from the table {online!r}, which actors fill: run it '
        'with programs.run_local or programs.launch.'
      )
  summaries = {}
  for task, run in runs.items():
    summaries[task] = _train(run, task)
    if summaries[task].reason == report.INTERRUPTED:
      break
  return summaries.get('', summaries)


def split(
  episodes: Sequence[types.Episode], held_out_fraction: float
) -> tuple[list[types.Episode], list[types.Episode]]:
  """Splits episodes into those to train with and those held out.

  Which side an episode is on depends on its place alone: it stays there when
  others are recorded behind it.

  Args:
    episodes: in the order of recording.
    held_out_fraction: in [0, 1); the first episode is never held out.
  """
  # Against the rounding of fractions such as 0.1.
  ends = np.floor(np.arange(len(episodes) + 1) * held_out_fraction + 1e-9)
  held_out = np.diff(ends) > 0
  return (
    [episode for episode, out in zip(episodes, held_out) if not out],
    [episode for episode, out in zip(episodes, held_out) if out],
  )


def _train(config: config_lib.RunConfig, task: str) -> report.Summary:
  spec = config.make_spec()
  resumed = run_folder.claim(config, spec, task)
  logging.info('%s %s.', 'Resuming' if resumed else 'Starting', config.folder)
  with (
    run_folder.used(config.folder),
    loggers.open_loggers(
      config.folder, ('learner', 'evaluator'), config.wandb
    ) as opened,
    watchdog.Watchdog('evaluator', config.call_limits) as guard,
    contextlib.closing(_Run(config, spec, opened, guard)) as run,
  ):
    reason = run.run()
  return report.make_report(config, spec, reason)


class _Run:
  """All the parts of a run."""

  def __init__(
    self,
    config: config_lib.RunConfig,
    spec: specs.EnvironmentSpec,
    opened: Mapping[str, loggers.Logger],
    guard: watchdog.Watchdog,
  ):
    self._config = config
    self._loggers = opened
    builder = config.builder
    train, held_out = _load(config, spec)
    replay = local_replay.LocalReplay(
      builder.make_tables(), spec, builder.batch_spec(), config.seed
    )
    self._sizes = _fill(replay, config, train)
    self._training = training_lib.Training(
      config,
      spec,
      iter(replay),
      self._loggers['learner'],
      replay.update_priorities,
    )
    networks = builder.make_networks(spec)
    self._measure = jax.jit(builder.make_measure(networks))
    # As many of those to train with: what the two differ by is overfitting.
    as_many = {name: train[name][: len(held_out[name])] for name in train}
    parts = {_TRAINING: as_many, _HELD_OUT: held_out}
    self._measured_steps = {
      f'{part}/{name}': steps
      for part, chosen in parts.items()
      for name, steps in _steps_by_table(config, chosen).items()
    }
    self._evaluation = None
    self._best = evaluation_lib.BestPolicy(config.folder)
    if config.evaluate:
      self._environment = guard.make(
        config.make_environment, config.seed + _EVALUATION_SEED_OFFSET
      )
      self._evaluation = evaluation_lib.Evaluation(
        self._environment,
        builder.make_policy(networks, evaluation=True),
        config.fault_limit_s,
      )

  def run(self) -> str:
    """Runs until a limit, a success or a Ctrl-C; returns which."""
    reason = self._limit()
    self._training.compile()
    self._measured = self._evaluated = time.monotonic()
    with interrupt.Interrupt() as interrupted:
      while not reason:
        self._training.step(0, self._sizes)
        reason = self._limit()
        self._measure_if_due(bool(reason))
        reason = self._evaluate_if_due(reason, interrupted.heard) or reason
        if interrupted.heard():
          reason = report.INTERRUPTED
    self._training.save(0)
    self._training.log(0, self._sizes)
    return reason

  def close(self) -> None:
    """Closes what is evaluated in."""
    if self._evaluation is not None:
      self._environment.close()

  def _limit(self) -> str:
    config = self._config
    if self._training.learner_steps >= config.max_learner_steps:
      return f'the limit of {config.max_learner_steps:,} learner steps'
    return self._training.time_limit.reached()

  def _measure_if_due(self, last: bool) -> None:
    """Logs how well the policy does on what it trains with and on the rest."""
    now = time.monotonic()
    if not last and now - self._measured < self._config.log_period_s:
      return
    self._measured = now
    found = {
      f'{path}/{name}': mean
      for path, steps in self._measured_steps.items()
      for name, mean in self._means(steps).items()
    }
    counts = {'learner_steps': self._training.learner_steps, 'env_steps': 0}
    self._loggers['learner'].write({**counts, **found})

  def _means(self, steps: types.Transition) -> dict[str, float]:
    """Returns the means of the builder's measures over steps [N, ...]."""
    rows = self._config.builder.batch_spec().batch_size
    state = self._training.learner_state
    count = len(steps.reward)
    sums: dict[str, float] = {}
    for begin in range(0, count, rows):
      # Always as many rows, so that it compiles once; the last ones repeat.
      indices = np.minimum(np.arange(begin, begin + rows), count - 1)
      batch = jax.tree.map(lambda column, i=indices: column[i], steps)
      values = jax.device_get(self._measure(state, batch))
      for name, column in values.items():
        valid = column[: count - begin]
        sums[name] = sums.get(name, 0.0) + float(np.sum(valid))
    return {name: total / count for name, total in sums.items()}

  def _evaluate_if_due(
    self, reason: str, interrupted: Callable[[], bool]
  ) -> str:
    """Evaluates if it is time for it.

    Args:
      reason: the run is over for; its last evaluation comes after the time.
      interrupted: whether the user wants to stop.

    Returns:
      Why the run is over by this evaluation, '' if it is not.
    """

    def should_stop() -> bool:
      time_is_up = not reason and self._training.time_limit.reached()
      return interrupted() or bool(time_is_up)

    config, now = self._config, time.monotonic()
    due = reason or now - self._evaluated >= config.evaluation_period_s
    if self._evaluation is None or not due:
      return ''
    params = config.builder.policy_params(self._training.learner_state)
    found = self._evaluation.sweep(
      params, config.evaluation_episodes, should_stop
    )
    # From its end on: a sweep may take longer than the period.
    self._evaluated = time.monotonic()
    if found is None:
      return ''
    steps = self._training.learner_steps
    self._best.offer(params, steps, found)
    self._loggers['evaluator'].write(
      {'learner_steps': steps, 'env_steps': 0, **found}
    )
    logging.info('Learner step %d: %s.', steps, evaluation_lib.outcome(found))
    return evaluation_lib.goal_reached(config, found)


def _load(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> tuple[_Episodes, _Episodes]:
  """Returns the episodes to train with and those held out, by their sources."""
  train, held_out = {}, {}
  for source in config.demonstrations_by_source:
    episodes = training_lib.load_demonstrations(config, spec, source)
    train[source], held_out[source] = split(episodes, config.held_out_fraction)
    logging.info(
      '%d episodes to train with, %d held out: %s.',
      len(train[source]),
      len(held_out[source]),
      source,
    )
    if config.held_out_fraction and not held_out[source]:
      logging.warning(
        'No episode is held out of %d: nothing tells when the policy fits them '
        'too well. Record %d or more.',
        len(episodes),
        math.ceil(1 / config.held_out_fraction),
      )
  return train, held_out


def _pieces(
  config: config_lib.RunConfig, episodes: _Episodes
) -> Iterator[tuple[str, types.Episode]]:
  """Yields the tables with what each takes of the episodes of its source."""
  sources = {table.name: table.source for table in training_lib.tables(config)}
  for source, chosen in episodes.items():
    for episode in chosen:
      for name, pieces in config.builder.pieces(episode).items():
        if sources[name] == source:
          yield from ((name, piece) for piece in pieces)


def _fill(
  replay: local_replay.LocalReplay,
  config: config_lib.RunConfig,
  episodes: _Episodes,
) -> dict[str, int]:
  """Inserts what the tables take of episodes; returns the tables' sizes."""
  for name, piece in _pieces(config, episodes):
    replay.insert(piece, [name])
  tables = [table.name for table in config.builder.make_tables()]
  sizes = {name: replay.size(name) for name in tables}
  for name, size in sizes.items():
    if not size:
      raise ValueError(
        f'None of the {sum(map(len, episodes.values()))} episodes to train '
        f'with holds a step for the table {name!r}; look at what was recorded, '
        'or change what the agent asks for.'
      )
  return sizes


def _steps_by_table(
  config: config_lib.RunConfig, episodes: _Episodes
) -> Mapping[str, types.Transition]:
  """Returns what the tables would take of episodes, as steps [N, ...]."""
  found: dict[str, list[types.Transition]] = {}
  for name, piece in _pieces(config, episodes):
    found.setdefault(name, []).append(_transitions(piece))
  return {
    name: jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
    for name, parts in found.items()
    if parts
  }


def _transitions(episode: types.Episode) -> types.Transition:
  return types.Transition(
    observation=jax.tree.map(lambda x: x[:-1], episode.observation),
    action=episode.action,
    reward=episode.reward,
    discount=episode.discount,
    next_observation=jax.tree.map(lambda x: x[1:], episode.observation),
  )
