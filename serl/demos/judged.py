"""Demonstrations as a judge of success would have rewarded and ended them."""

from collections.abc import Callable
import os
import pathlib

from absl import logging
import jax
import numpy as np

from serl import specs
from serl import types
from serl.demos import datasets
from serl.demos import files
from serl.demos import log as log_lib

# observation, without batch axis -> whether it is a success
Judge = Callable[[types.NestedArray], bool]

_FROM, _BY = 'judged_from', 'judged_by'  # metadata of what was written


def judge(episode: types.Episode, is_success: Judge) -> types.Episode:
  """Returns an episode with reward 1, and its end, where success comes first.

  All other rewards are 0, as `wrappers.judged_success` gives them. Where there
  is no success the episode ends as it did, unless it ended by another's.
  """

  def seen(t: int) -> bool:
    return is_success(jax.tree.map(lambda x: x[t], episode.observation))

  steps = range(episode.length)
  at = next((t for t in steps if seen(t + 1)), None)
  length = episode.length if at is None else at + 1
  # Copies: of what is left out nothing stays in memory.
  cut = lambda column: column[:length].copy()
  observation = jax.tree.map(
    lambda column: column[: length + 1].copy(), episode.observation
  )
  judged = types.Episode(
    observation,
    jax.tree.map(cut, episode.action),
    np.zeros(length, np.float32),
    cut(episode.discount),
    jax.tree.map(cut, dict(episode.extras)),
  )
  if at is not None:
    judged.reward[-1], judged.discount[-1] = 1.0, 0.0
  elif episode.reward[-1] > 0:
    # What ended it was another's success, at which nothing ends here.
    judged.discount[-1] = 1.0
  return judged


def write(
  path: str | os.PathLike,
  folder: str | os.PathLike,
  spec: specs.EnvironmentSpec,
  is_success: Judge,
  name: str = '',
) -> None:
  """Writes what is at `path`, judged, to `folder`; an interrupted one goes on.

  Args:
    path: of demonstrations in any format that `datasets` reads.
    folder: of an `EpisodeLog`.
    spec: that the demonstrations fit.
    is_success: the judge.
    name: of the judge, which tells it from others.

  Raises:
    FileError: a demonstration is damaged or does not fit, there are others in
      the folder, or the judge sees success in none.
  """
  told = {_FROM: str(pathlib.Path(path).resolve()), _BY: name}
  log = log_lib.EpisodeLog(folder, spec, told)
  for found in files.find(folder):
    metadata = files.read(found)[1]
    if any(metadata.get(key) != value for key, value in told.items()):
      raise files.FileError(
        f'{found} is from {metadata.get(_FROM, "a script")}, not from '
        f'{told[_FROM]}, or was judged by another: name a new folder for a run '
        'with other demonstrations or another classifier'
      )
  successes = sum(episode.reward[-1] == 1 for episode in log.episodes())
  for number, record in enumerate(datasets.read(path, spec).records):
    if number >= len(log):
      judged = judge(record.episode, is_success)
      successes += judged.reward[-1] == 1
      rate = record.metadata.get(files.RATE)
      log.append(judged, None if rate is None else {files.RATE: rate})
  total = len(log)
  logging.info(
    '%s: the classifier sees success in %d of %d demonstrations.',
    path,
    successes,
    total,
  )
  if not successes:
    # Nothing is kept for another judge to stumble over.
    for found in files.find(folder):
      log.discard(found)
    raise files.FileError(
      f'{path}: the classifier sees success in none of {total} '
      'demonstrations, expected it in most: show it such successes as well '
      '(examples/train_reward_classifier.py), or take a lower threshold'
    )
