"""Records demonstrations by an actor that knows the task, and loads them."""

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import itertools
import os
import pathlib
import time

from absl import logging
import dm_env

from serl import configs
from serl import core
from serl import environment_loop
from serl import specs
from serl import types
from serl.demos import content
from serl.demos import datasets
from serl.demos import files
from serl.demos import imported
from serl.demos import log as log_lib
from serl.demos import records
from serl.replay import adders

# Where demonstrations are: a folder or file of them, or the episodes.
Demonstrations = configs.Path | Sequence[types.Episode]

# Without one good step of a robot that fails again and again.
FAULT_LIMIT_S = 600.0

# Attempts beyond twice the episodes asked for, so that a few need no luck.
_SLACK = 8


class RecordingError(RuntimeError):
  """The actor failed so often that recording was given up."""


def succeeded(metrics: Mapping[str, float]) -> bool:
  """Returns whether an episode with these metrics solved its task."""
  if 'success' not in metrics:
    raise RecordingError(
      'the environment tells no success: it needs episode_metrics() with '
      "'success'; or pass `keep` to record()"
    )
  return bool(metrics['success'])


class Operator:
  """Watches a recording and may interfere; this one does neither.

  Its methods are called between the steps: none may block.
  """

  def show(self, timestep: dm_env.TimeStep) -> None:
    """Sees every timestep."""

  def report(self, counts: Mapping[str, int]) -> None:
    """Hears after each episode what there is by now."""

  def wants_stop(self) -> bool:
    """Returns whether to end here; the episode under way is dropped."""
    return False

  def wants_restart(self) -> bool:
    """Returns whether to drop the episode under way and begin another."""
    return False

  def wants_discard(self) -> bool:
    """Returns whether to delete the episode that was finished last.

    It is asked when another one has finished, and when the recording stops.
    """
    return False

  def discarded(self, found: bool) -> None:
    """Hears whether that episode was deleted, or had not been kept."""


def record(
  make_environment: Callable[[int], dm_env.Environment],
  actor: core.Actor,
  episodes: int,
  folder: str | os.PathLike | None = None,
  seed: int = 0,
  keep: Callable[[Mapping[str, float]], bool] = succeeded,
  attempts: int | None = None,
  operator: Operator | None = None,
  on_damage: log_lib.OnDamage | None = None,
  fault_limit_s: float | None = FAULT_LIMIT_S,
) -> list[types.Episode]:
  """Records episodes by `actor` until there are enough good ones.

  What is in `folder` already counts, so that an interrupted recording goes on.
  What the environment tells by `step_extras()` is kept in the episodes' extras.

  Args:
    make_environment: seed -> environment; the environment is closed at the end.
    actor: a scripted expert or a human's device.
    episodes: how many to return; fewer are when the operator stops it.
    folder: an `EpisodeLog` to write them to; None keeps them in memory alone.
    seed: of the environment.
    keep: the metrics of an episode (see `environment_loop`) -> whether it is a
      demonstration; by default those that succeeded.
    attempts: episodes after which to give up; by default some more than twice
      as many as are missing.
    operator: of the recording; nobody by default.
    on_damage: of an episode in `folder`, see `EpisodeLog`: another one is
      recorded instead.
    fault_limit_s: see `EnvironmentLoop`.

  Raises:
    RecordingError: too few of the attempts were good.
    FaultLimitError: no step has succeeded for `fault_limit_s`.
  """
  operator = operator or Operator()
  done = 0 if folder is None else len(files.find(folder))
  # Another seed for what is missing: the same one would record again what is
  # there already.
  with contextlib.closing(make_environment(seed + done)) as environment:
    kept: list[types.Episode] = []
    log = None
    if folder is not None:
      log = open_log(folder, environment, actor, on_damage)
      kept.extend(itertools.islice(log.episodes(), episodes))
    missing = episodes - len(kept)
    if attempts is None:
      attempts = 2 * missing + _SLACK
    paths: list[pathlib.Path | None] = []  # of what is recorded here
    has_last = False  # whether the episode before is among them
    attempt = 0
    finished = run_episodes(
      environment, actor, operator, fault_limit_s=fault_limit_s
    )
    while len(kept) < episodes and attempt < attempts:
      metrics, episode = next(finished, (None, None))
      if operator.wants_discard():
        if has_last:
          kept.pop()
          discarded = paths.pop()
          if log is not None:
            log.discard(discarded)
        operator.discarded(has_last)
        has_last = False
      if episode is None:
        return kept
      attempt += 1
      has_last = keep(metrics)
      if has_last:
        kept.append(episode)
        paths.append(None if log is None else append(log, episode, metrics))
      else:
        logging.info('Attempt %d failed: %s.', attempt, metrics)
      operator.report({'episodes': len(kept), 'attempts': attempt})
  if len(kept) < episodes:
    raise RecordingError(
      f'{type(actor).__name__} gave {len(paths)} good episodes in {attempts} '
      f'attempts, expected {missing}; look at what it does, or record with '
      'another actor or seed'
    )
  return kept


def open_log(
  folder: str | os.PathLike,
  environment: dm_env.Environment,
  actor: core.Actor,
  on_damage: log_lib.OnDamage | None = None,
) -> log_lib.EpisodeLog:
  """Opens a log for what `actor` does in `environment`."""
  spec = specs.make_environment_spec(environment)
  return log_lib.EpisodeLog(
    folder,
    spec,
    {'actor': type(actor).__name__},
    steps_per_second=specs.steps_per_second(environment),
    on_damage=on_damage,
  )


def append(
  log: log_lib.EpisodeLog, episode: types.Episode, metrics: Mapping[str, float]
) -> pathlib.Path:
  """Writes an episode with its return and the time, and returns its path."""
  told = {'episode_return': metrics['episode_return']}
  return log.append(episode, {**told, 'created': time.time()})


def run_episodes(
  environment: dm_env.Environment,
  actor: core.Actor,
  operator: Operator,
  step_extras: Sequence[adders.StepExtras] | None = None,
  fault_limit_s: float | None = FAULT_LIMIT_S,
) -> Iterator[tuple[Mapping[str, float], types.Episode]]:
  """Yields each episode as it finishes, with its metrics, until a stop.

  Args:
    environment: to act in.
    actor: which acts.
    operator: who may stop, and restart an episode.
    step_extras: see `adders.EpisodeAdder`; by default the environment's own,
      where it has them.
    fault_limit_s: see `EnvironmentLoop`.
  """
  if step_extras is None:
    step_extras = adders.step_extras_of(environment)
  finished: list[types.Episode] = []
  adder = adders.EpisodeAdder([finished.append], step_extras)
  watched = _Watched(actor, adder, operator)
  loop = environment_loop.EnvironmentLoop(
    environment, watched, fault_limit_s=fault_limit_s
  )
  stop = lambda: operator.wants_stop() or operator.wants_restart()
  while not operator.wants_stop():
    metrics = loop.run_episode(stop)
    if metrics is not None:
      yield metrics, finished.pop()


def load_demonstrations(
  demonstrations: Demonstrations,
  spec: specs.EnvironmentSpec,
  on_damage: log_lib.OnDamage | None = None,
  time_limit: int | None = None,
  rewarded: bool = True,
) -> list[types.Episode]:
  """Returns what `load` does, of what shows how a task is done.

  Args:
    demonstrations: see `load`.
    spec: of the environment to use them in.
    on_damage: see `load`.
    time_limit: of the task, for data that do not tell how they ended.
    rewarded: whether the agent learns from their rewards.

  Raises:
    FileError, ValueError: see `load`; or an episode is a single step, which
      shows no task, or there is nothing to learn from in any of a file's or
      folder's.
  """
  found = list(_records(demonstrations, spec, on_damage, time_limit))
  _log_imported(demonstrations, found, time_limit)
  _demand_content(demonstrations, found, rewarded)
  return [record.episode for record in found]


def check_demonstrations(
  path: str | os.PathLike,
  spec: specs.EnvironmentSpec,
  rewarded: bool = True,
) -> None:
  """Raises what `load_demonstrations` would, of one episode at a time."""
  _demand_content(path, _records(path, spec), rewarded)


def _demand_content(
  demonstrations: Demonstrations,
  found: Iterable[records.Record],
  rewarded: bool,
) -> None:
  """Refuses demonstrations that show nothing."""
  counted = content.Content()
  short = []
  for number, record in enumerate(found):
    counted.add(record.episode)
    # Of a buffer of interventions a single step is an intervention.
    is_cut_out = 'end' in record.metadata
    is_snapshot = records.SNAPSHOT in record.episode.extras
    if record.episode.length == 1 and (is_snapshot or not is_cut_out):
      short.append(number)
  is_path = isinstance(demonstrations, (str, os.PathLike))
  if short:
    where = f'{demonstrations}: ' if is_path else ''
    raise files.FileError(
      f'{where}of {counted.episodes} demonstrations, counted from 0, {short} '
      'are of one step, expected more: remove them, python -m '
      'serl.tools.inspect_data lists the episodes'
    )
  if is_path:
    counted.demand(str(demonstrations), rewarded)


def _records(
  demonstrations: Demonstrations,
  spec: specs.EnvironmentSpec | None,
  on_damage: log_lib.OnDamage | None = None,
  time_limit: int | None = None,
) -> Iterator[records.Record]:
  """Yields demonstrations that fit `spec`, see `load`."""
  if isinstance(demonstrations, (str, os.PathLike)):
    if not datasets.is_serl_pickle(demonstrations):
      time_limit = None  # the others say how they ended
    yield from datasets.read(
      demonstrations, spec, time_limit, on_damage=on_damage
    ).records
    return
  found = [
    records.Record(f'demonstration {i}', episode)
    for i, episode in enumerate(demonstrations)
  ]
  if spec is not None:
    for episode in demonstrations:
      adders.check_shapes(episode, spec)
    # No file's header tells of these by which bounds they were recorded.
    found = [records.fit(record, spec) for record in found]
  yield from found


def load(
  demonstrations: Demonstrations,
  spec: specs.EnvironmentSpec | None = None,
  on_damage: log_lib.OnDamage | None = None,
) -> list[types.Episode]:
  """Returns demonstrations as episodes that fit `spec`.

  Args:
    demonstrations: a folder or a file of them in any format that `datasets`
      reads, or the episodes themselves.
    spec: of the environment to use them in; None for any.
    on_damage: see `datasets.read`.

  Raises:
    FileError: nothing is there, or a file is damaged or of another spec.
    ValueError: a given episode does not fit `spec`, or has actions outside of
      its bounds.
  """
  found = list(_records(demonstrations, spec, on_damage))
  _log_imported(demonstrations, found)
  return [record.episode for record in found]


class _Watched:
  """An actor whose steps an adder and the operator see too."""

  def __init__(self, actor: core.Actor, adder: core.Adder, operator: Operator):
    self._actor = actor
    self._adder = adder
    self._operator = operator

  def prepare(self) -> None:
    if isinstance(self._actor, core.HasPrepare):
      self._actor.prepare()

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    return self._actor.select_action(observation)

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    self._adder.add_first(timestep)
    self._operator.show(timestep)
    self._actor.observe_first(timestep)

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    self._adder.add(action, next_timestep)
    self._operator.show(next_timestep)
    self._actor.observe(action, next_timestep)

  def update(self) -> None:
    self._actor.update()


def _log_imported(
  demonstrations: Demonstrations,
  found: Sequence[records.Record],
  time_limit: int | None = None,
) -> None:
  """Logs what was made of episodes that are not this project's."""
  if not isinstance(demonstrations, (str, os.PathLike)):
    return
  changes = imported.Changes()
  for record in found:
    changes.add(record)
  for line in changes.lines():
    logging.warning('%s: %s.', demonstrations, line)
  ends = collections.Counter(
    record.metadata['end'] for record in found if 'end' in record.metadata
  )
  # One that was converted has been told its time limit.
  if not ends or not datasets.is_serl_pickle(demonstrations):
    return
  longest = max(record.episode.length for record in found)
  logging.info(
    '%s: %s; taken for the time limit: %s. If it was another one, which '
    'nothing in the file tells, convert it: python -m serl.tools.convert_data '
    '--time-limit=%d',
    demonstrations,
    ', '.join(f'{count} ended by {end}' for end, count in ends.items()),
    'none' if time_limit is None else f"{time_limit} steps, the task's",
    longest,
  )
