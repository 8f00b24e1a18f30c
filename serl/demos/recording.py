"""Records demonstrations by an actor that knows the task, and loads them."""

from collections.abc import Callable, Mapping, Sequence
import itertools
import os
import time

from absl import logging
import dm_env

from serl import core
from serl import environment_loop
from serl import specs
from serl import types
from serl.demos import files
from serl.demos import log as log_lib
from serl.replay import adders

# Where demonstrations are: a folder or file of them, or the episodes.
Demonstrations = str | os.PathLike | Sequence[types.Episode]

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


def record(
  make_environment: Callable[[int], dm_env.Environment],
  actor: core.Actor,
  episodes: int,
  folder: str | os.PathLike | None = None,
  seed: int = 0,
  keep: Callable[[Mapping[str, float]], bool] = succeeded,
) -> list[types.Episode]:
  """Records episodes by `actor` until there are enough good ones.

  What is in `folder` already counts, so that an interrupted recording goes on.

  Args:
    make_environment: seed -> environment; the environment is closed at the end.
    actor: a scripted expert or a human's device.
    episodes: how many to return.
    folder: an `EpisodeLog` to write them to; None keeps them in memory alone.
    seed: of the environment.
    keep: the metrics of an episode (see `environment_loop`) -> whether it is a
      demonstration; by default those that succeeded.

  Raises:
    RecordingError: less than half of the episodes were good.
  """
  done = 0 if folder is None else len(files.find(folder))
  # Another seed for what is missing: the same one would record again what is
  # there already.
  environment = make_environment(seed + done)
  spec = specs.make_environment_spec(environment)
  kept: list[types.Episode] = []
  log = None
  if folder is not None:
    log = log_lib.EpisodeLog(folder, spec, {'actor': type(actor).__name__})
    kept.extend(itertools.islice(log.episodes(), episodes))
  finished: list[types.Episode] = []
  watched = _Watched(actor, adders.EpisodeAdder([finished.append]))
  loop = environment_loop.EnvironmentLoop(environment, watched)
  missing = episodes - len(kept)
  attempts = 2 * missing + _SLACK
  try:
    for attempt in range(attempts):
      if len(kept) >= episodes:
        break
      metrics = loop.run_episode()
      episode = finished.pop()
      if not keep(metrics):
        logging.info('Attempt %d failed: %s.', attempt, metrics)
        continue
      kept.append(episode)
      if log is not None:
        told = {'episode_return': metrics['episode_return']}
        log.append(episode, {**told, 'created': time.time()})
  finally:
    environment.close()
  if len(kept) < episodes:
    raise RecordingError(
      f'{type(actor).__name__} gave {len(kept) - episodes + missing} good '
      f'episodes in {attempts} attempts, expected {missing}; look at what it '
      'does, or record with another actor or seed'
    )
  return kept


def load(
  demonstrations: Demonstrations, spec: specs.EnvironmentSpec
) -> list[types.Episode]:
  """Returns demonstrations as episodes that fit `spec`.

  Args:
    demonstrations: a folder or a file of them, or the episodes themselves.
    spec: of the environment to use them in.

  Raises:
    FileError: nothing is there, or a file is damaged or of another spec.
    ValueError: a given episode does not fit `spec`.
  """
  if isinstance(demonstrations, (str, os.PathLike)):
    return [files.read(path, spec)[0] for path in files.paths(demonstrations)]
  for episode in demonstrations:
    adders.check(episode, spec)
  return list(demonstrations)


class _Watched:
  """An actor whose steps an adder sees too."""

  def __init__(self, actor: core.Actor, adder: core.Adder):
    self._actor = actor
    self._adder = adder

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    return self._actor.select_action(observation)

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    self._adder.add_first(timestep)
    self._actor.observe_first(timestep)

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    self._adder.add(action, next_timestep)
    self._actor.observe(action, next_timestep)

  def update(self) -> None:
    self._actor.update()
