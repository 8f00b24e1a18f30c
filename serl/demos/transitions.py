"""Records transitions into success, and others, to train classifiers with."""

from collections.abc import Callable
import os
import pathlib
from typing import NamedTuple

import dm_env
import numpy as np

from serl import core
from serl import types
from serl.demos import datasets
from serl.demos import files
from serl.demos import recording

LABEL = 'success'  # the column of an episode's extras


class Counts(NamedTuple):
  """How many transitions there are of each class."""

  successes: int
  failures: int

  def __sub__(self, other: 'Counts') -> 'Counts':
    return Counts(*np.subtract(self, other).tolist())

  def __add__(self, other: tuple) -> 'Counts':
    return Counts(*np.add(self, other).tolist())

  def reach(self, target: 'Counts') -> bool:
    """Returns whether there are enough of both."""
    return all(a >= b for a, b in zip(self, target))


def record(
  make_environment: Callable[[int], dm_env.Environment],
  actor: core.Actor,
  target: Counts,
  folder: str | os.PathLike,
  seed: int = 0,
  label: Callable[[], bool] | None = None,
  patience: int | None = 20,
  operator: recording.Operator | None = None,
  fault_limit_s: float | None = recording.FAULT_LIMIT_S,
) -> Counts:
  """Records episodes until there are enough transitions of both classes.

  Each finished episode is kept, with the labels in its extras: 'success', uint8
  [T], tells of `observation[t + 1]`. What is in `folder` already counts.

  Args:
    make_environment: seed -> environment; the environment is closed at the end.
    actor: a scripted expert or a human's device.
    target: how many there shall be at least.
    folder: an `EpisodeLog` to write the episodes to.
    seed: of the environment.
    label: asked after each step whether it led to success; by default the
      environment's `step_extras()` tells.
    patience: episodes in a row without a transition that was missing, after
      which to give up; None for never.
    operator: of the recording; nobody by default.
    fault_limit_s: see `EnvironmentLoop`.

  Returns:
    The counts in the folder; less than asked for when the operator stops it.

  Raises:
    RecordingError: nobody tells the labels, an episode in the folder has none,
      or the patience is at an end.
    FaultLimitError: no step has succeeded for `fault_limit_s`.
  """
  operator = operator or recording.Operator()
  environment = make_environment(seed + len(files.find(folder)))
  try:
    tell = _labels(environment, label)
    log = recording.open_log(folder, environment, actor)
    counts = sum(map(_count, log.episodes()), Counts(0, 0))
    recorded: list[tuple[pathlib.Path, Counts]] = []
    idle = 0
    finished = recording.run_episodes(
      environment, actor, operator, tell, fault_limit_s
    )
    while not counts.reach(target):
      metrics, episode = next(finished, (None, None))
      if operator.wants_discard():
        operator.discarded(bool(recorded))
        if recorded:
          path, new = recorded.pop()
          log.discard(path)
          counts -= new
      if episode is None:
        break
      new = _count(episode)
      missing = target - counts
      recorded.append((recording.append(log, episode, metrics), new))
      counts += new
      operator.report({**counts._asdict(), 'episodes': len(recorded)})
      useful = any(n > 0 and m > 0 for n, m in zip(new, missing))
      idle = 0 if useful else idle + 1
      if idle == patience and not counts.reach(target):
        raise recording.RecordingError(
          f'{type(actor).__name__} gave nothing of what is missing in {idle} '
          f'episodes: there are {counts}, expected {target}; look at what it '
          'does, or record with another actor, more noise or another seed'
        )
    return counts
  finally:
    environment.close()


def load(path: str | os.PathLike, success: bool) -> list[types.Episode]:
  """Returns data of one class alone, each step labelled so.

  Args:
    path: of a data set in any format that `datasets` reads, single transitions
      in a pickle of SERL's among them.
    success: which class it is.

  Raises:
    FileError: nothing is there, or an episode is damaged.
  """
  told = {'success': success} if datasets.is_serl_pickle(path) else {}
  label = lambda episode: np.full(episode.length, success, np.uint8)
  return [
    episode._replace(extras={**episode.extras, LABEL: label(episode)})
    for _, episode, _ in datasets.read(path, actions=False, **told).records
  ]


def _labels(
  environment: dm_env.Environment, label: Callable[[], bool] | None
) -> list[Callable[[], dict[str, np.ndarray]]]:
  """Returns what tells an episode's extras, the labels among them."""
  told = None
  if isinstance(environment, core.HasStepExtras):
    told = environment.step_extras
  if label is not None:
    by_label = lambda: {LABEL: np.uint8(bool(label()))}
    return [by_label] if told is None else [told, by_label]
  if told is None:
    raise recording.RecordingError(
      'the environment tells no success: it needs step_extras() with '
      f'{LABEL!r}; or have a person label the steps'
    )
  return [told]


def _count(episode: types.Episode) -> Counts:
  if LABEL not in episode.extras:
    raise recording.RecordingError(
      f'an episode has the extras {sorted(episode.extras)}, expected {LABEL!r} '
      "among them: the environment's step_extras() must tell it; episodes "
      'without stay in a folder of their own'
    )
  successes = int(np.count_nonzero(episode.extras[LABEL]))
  return Counts(successes, episode.length - successes)
