"""Labelled images out of episodes, split by episode and balanced by class."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from serl import specs
from serl import types
from serl.agents.classifier import networks as classifier_networks

LABEL = 'success'  # in an episode's extras: [T], of observation[t + 1]
# Likewise, where there is any: what is neither clearly success nor failure.
UNCLEAR = 'unclear'
# Likewise, of transitions that were picked out one by one, as SERL's are.
SNAPSHOT = 'snapshot'
# Images left out between two sides of a stretch of snapshots.
_GAP = 10


class Examples(NamedTuple):
  """N labelled images of each camera."""

  images: Mapping[str, np.ndarray]  # by path, [N, *image_spec] uint8
  success: np.ndarray  # [N] bool
  episode: np.ndarray  # [N] int64, the number of the episode it is from
  snapshot: np.ndarray  # [N] bool, whether it was picked out by itself


def observation_spec(episode: types.Episode) -> dict[str, specs.Array]:
  """Returns the spec of an episode's observations by path."""
  leaves = specs.flatten(episode.observation)
  return {
    path: specs.Array(column.shape[1:], column.dtype, path)
    for path, column in leaves.items()
  }


def from_episodes(
  episodes: Iterable[types.Episode], image_spec: Mapping[str, specs.Array]
) -> Examples:
  """Returns the labelled images of episodes.

  The label of step t is of what the step led to. The first observation of an
  episode has none and is left out, and so is what is unclear.

  Args:
    episodes: with `extras['success']`, [T] of 0 and 1; `extras['unclear']`
      likewise, if they have it.
    image_spec: of the cameras to take, by path.

  Raises:
    ValueError: an episode has no labels, others than 0 and 1, a single step
      that is no snapshot, or images of another shape or dtype; all have the
      same label; none is there.
  """
  images: dict[str, list[np.ndarray]] = {path: [] for path in image_spec}
  labels, numbers, snapshots = [], [], []
  for number, episode in enumerate(episodes):
    clear = _flags(episode, number, UNCLEAR) == 0
    labels.append(_labels(episode, number)[clear])
    numbers.append(np.full(clear.sum(), number))
    snapshots.append(np.full(clear.sum(), SNAPSHOT in episode.extras))
    columns = classifier_networks.take_images(episode.observation, image_spec)
    for path, column in columns.items():
      _check_images(column, image_spec[path], f'episode {number}: {path}')
      images[path].append(column[1:][clear])
  if not labels:
    raise ValueError(
      'There is no episode to learn from; record some with '
      'python -m serl.tools.record_transitions.'
    )
  examples = Examples(
    {path: np.concatenate(columns) for path, columns in images.items()},
    np.concatenate(labels),
    np.concatenate(numbers),
    np.concatenate(snapshots),
  )
  _check_classes(examples, 'The data set')
  return examples


def split(
  examples: Examples, held_out_fraction: float, seed: int = 0
) -> tuple[Examples, Examples]:
  """Splits examples into those to train with and those to test with.

  Neighbouring images are all but equal, so that no episode is on both sides.
  Episodes with and without a success are shared out apart. Of snapshots, which
  tell no episode, the last ones are held out of both kinds: those that were
  seen one after the other stand in two files. A few long stretches of them are
  cut into parts, with some images left out between the two sides.

  Args:
    examples: of several episodes.
    held_out_fraction: of the episodes, in (0, 1), at least one of each kind.
    seed: of the choice.

  Raises:
    ValueError: the episodes are too few for successes and failures on both
      sides.
  """
  if not 0 < held_out_fraction < 1:
    raise ValueError(
      f'held_out_fraction is {held_out_fraction!r}, expected in (0, 1).'
    )
  rng = np.random.default_rng(seed)
  examples = _cut_stretches(examples, held_out_fraction)
  succeeded = np.unique(examples.episode[examples.success])
  failed = np.setdiff1d(examples.episode, succeeded)
  held_out: list[int] = []
  for kind in (succeeded, failed):
    is_snapshot = np.isin(kind, examples.episode[examples.snapshot])
    chosen = rng.permutation(kind[~is_snapshot])
    for choice in (chosen, kind[is_snapshot][::-1]):
      count = max(1, round(held_out_fraction * len(choice)))
      held_out.extend(choice[:count])
  is_held_out = np.isin(examples.episode, held_out)
  parts = take(examples, ~is_held_out), take(examples, is_held_out)
  advice = (
    'record more episodes, or more images in each file of snapshots: both '
    'sides need both classes'
  )
  for part, name in zip(parts, ('training', 'held-out')):
    _check_classes(part, f'The {name} part of the episodes', advice)
  return parts


def _cut_stretches(examples: Examples, held_out_fraction: float) -> Examples:
  """Returns examples with enough stretches of snapshots to hold some out.

  The last images of a class become a stretch of their own.
  """
  episode, kept = examples.episode.copy(), np.ones(len(examples.episode), bool)
  for success in (True, False):
    of_class = examples.snapshot & (examples.success == success)
    rows = np.flatnonzero(of_class)
    stretches = np.unique(episode[rows])
    if len(rows) < 2 or len(stretches) * held_out_fraction >= 1:
      continue
    # Only what follows within a stretch is alike.
    count = max(1, round(held_out_fraction * len(rows)))
    gap = min(_GAP, (len(rows) - count) // 4)
    held_out = rows[-count:]
    between = rows[len(rows) - count - gap : len(rows) - count]
    is_cut = np.isin(episode[between], episode[held_out])
    kept[between[is_cut]] = False
    # In their order behind all others.
    episode[held_out] = episode.max() + 1
  if kept.all():
    return examples._replace(episode=episode)
  return take(examples._replace(episode=episode), kept)


def draw(
  rng: np.random.Generator, examples: Examples, batch_size: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Draws a minibatch, half of it successes, with replacement.

  Args:
    rng: makes the draws.
    examples: of both classes.
    batch_size: rows, B, an even number.

  Returns:
    images [B, ...] by path, and labels [B] float32.
  """
  half = batch_size // 2
  rows = np.concatenate(
    [
      rng.choice(np.flatnonzero(examples.success == success), half)
      for success in (True, False)
    ]
  )
  batch = take(examples, rows)
  return dict(batch.images), batch.success.astype(np.float32)


def take(examples: Examples, rows: np.ndarray) -> Examples:
  """Returns the given rows, by number or by a mask."""
  return Examples(
    {path: column[rows] for path, column in examples.images.items()},
    examples.success[rows],
    examples.episode[rows],
    examples.snapshot[rows],
  )


def _labels(episode: types.Episode, number: int) -> np.ndarray:
  if LABEL not in episode.extras:
    raise ValueError(
      f'Episode {number} has no extras[{LABEL!r}], only '
      f'{sorted(episode.extras)}; record it with '
      'python -m serl.tools.record_transitions, or give it as one of successes '
      'or of failures alone.'
    )
  labels = _flags(episode, number, LABEL)
  if episode.length < 2 and SNAPSHOT not in episode.extras:
    raise ValueError(
      f'Episode {number} has {episode.length} step, expected at least 2; it '
      'was cut off when it was recorded: remove it from the data set.'
    )
  return labels.astype(bool)


def _flags(episode: types.Episode, number: int, name: str) -> np.ndarray:
  """Returns a column of an episode's extras, [T] of 0 and 1; 0 if missing."""
  flags = np.asarray(episode.extras.get(name, np.zeros(episode.length)))
  if flags.shape != (episode.length,) or not np.isin(flags, (0, 1)).all():
    raise ValueError(
      f'Episode {number}: extras[{name!r}] has shape {flags.shape} and the '
      f'values {np.unique(flags)[:5]}, expected [{episode.length}] of 0 and 1.'
    )
  return flags


def _check_images(column: np.ndarray, spec: specs.Array, name: str) -> None:
  if column.shape[1:] != tuple(spec.shape) or column.dtype != spec.dtype:
    raise ValueError(
      f'{name} has images {list(column.shape[1:])} {column.dtype}, expected '
      f'{list(spec.shape)} {spec.dtype}: record all episodes with the same '
      'cameras.'
    )


def _check_classes(
  examples: Examples, name: str, advice: str = 'record the other class, too'
) -> None:
  successes = int(np.sum(examples.success))
  failures = len(examples.success) - successes
  if not successes or not failures:
    raise ValueError(
      f'{name} has {successes} successes and {failures} failures, expected '
      f'some of each; {advice}.'
    )
