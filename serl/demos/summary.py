"""What a data set looks like in numbers, gathered one episode at a time."""

from collections.abc import Iterable
import dataclasses
from typing import NamedTuple

import numpy as np

from serl import specs
from serl.demos import files
from serl.demos import records


@dataclasses.dataclass
class Range:
  """Least, mean and greatest of all numbers of a kind."""

  least: float = np.inf
  greatest: float = -np.inf
  total: float = 0.0
  count: int = 0

  @property
  def mean(self) -> float:
    """The mean, NaN of nothing."""
    return self.total / self.count if self.count else np.nan

  def add(self, values: np.ndarray) -> None:
    """Counts `values` in."""
    self.least = min(self.least, float(values.min()))
    self.greatest = max(self.greatest, float(values.max()))
    self.total += float(values.sum(dtype=float))
    self.count += values.size


class Film(NamedTuple):
  """Some frames of an episode."""

  name: str
  steps: np.ndarray  # [F]
  cameras: dict[str, np.ndarray]  # [F, H, W, C] uint8


@dataclasses.dataclass
class Summary:
  """A data set of N episodes and S steps in all."""

  ranges: dict[str, Range]  # of each observation and extra, by its path
  lengths: np.ndarray  # [N] steps
  returns: np.ndarray  # [N] undiscounted
  rewards: list[np.ndarray]  # N of [T]
  terminated: np.ndarray  # [N] bool; else cut by time
  successes: np.ndarray  # [N] 0 or 1, NaN where it is not told
  actions: dict[str, np.ndarray]  # [S, size] by path
  rates: list[float]  # of the recording, Hz, sorted; of episodes with one
  bytes: int  # of all arrays
  films: list[Film]


def summarise(
  found: Iterable[records.Record],
  spec: specs.EnvironmentSpec,
  film_episodes: int = 0,
  film_frames: int = 8,
) -> Summary:
  """Reads a data set and tells what is in it.

  Args:
    found: the episodes; read one at a time.
    spec: that they fit.
    film_episodes: of how many to keep frames, the first ones.
    film_frames: how many frames, evenly spread over the episode.

  Raises:
    FileError: an episode cannot be read.
  """
  images = [
    path
    for path, leaf in specs.flatten(spec.observations).items()
    if specs.is_image(leaf)
  ]
  ranges: dict[str, Range] = {}
  actions: dict[str, list[np.ndarray]] = {}
  rewards, terminated, successes, films = [], [], [], []
  rates = set()
  size = 0
  for record in found:
    episode = record.episode
    observations = specs.flatten(episode.observation)
    columns = {
      **{
        f'observation/{p}' if p else 'observation': c
        for p, c in observations.items()
      },
      **specs.flatten(episode.extras, 'extras'),
    }
    for path, column in columns.items():
      if column.dtype.kind in 'bfiu':
        ranges.setdefault(path, Range()).add(column)
    for path, column in specs.flatten(episode.action, 'action').items():
      actions.setdefault(path, []).append(column.reshape(len(column), -1))
    rewards.append(episode.reward)
    terminated.append(episode.discount[-1] == 0)
    successes.append(_success(record))
    if files.RATE in record.metadata:
      rates.add(record.metadata[files.RATE])
    size += sum(c.nbytes for c in specs.flatten(episode._asdict()).values())
    if images and len(films) < film_episodes:
      chosen = np.linspace(0, episode.length, film_frames).round().astype(int)
      cameras = {p: _last_frame(observations[p][chosen]) for p in images}
      films.append(Film(record.name, chosen, cameras))
  return Summary(
    ranges=ranges,
    lengths=np.array([len(reward) for reward in rewards]),
    returns=np.array([reward.sum(dtype=float) for reward in rewards]),
    rewards=rewards,
    terminated=np.array(terminated, bool),
    successes=np.array(successes),
    actions={path: np.concatenate(parts) for path, parts in actions.items()},
    rates=sorted(rates),
    bytes=size,
    films=films,
  )


def _success(record: records.Record) -> float:
  if 'success' in record.episode.extras:
    return float(np.any(record.episode.extras['success']))
  told = record.metadata.get('success')
  return np.nan if told is None else float(bool(told))


def _last_frame(images: np.ndarray) -> np.ndarray:
  """Returns the images [N, H, W, C] of [N, (stack,) H, W, C]."""
  return images[:, -1] if images.ndim == 5 else images
