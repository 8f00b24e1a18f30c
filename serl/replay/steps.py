"""Which steps of an episode go into which tables."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tree

from serl import types

# Names of tables that get every step; or by name, which steps, bool [T].
Tables = Sequence[str] | Mapping[str, np.ndarray]


def by_table(tables: Tables, length: int) -> dict[str, np.ndarray]:
  """Returns which of an episode's steps each table gets, bool [length].

  Raises:
    ValueError: what is given for a table is not that.
  """
  if not isinstance(tables, Mapping):
    return {name: np.ones(length, bool) for name in tables}
  for name, chosen in tables.items():
    if np.shape(chosen) != (length,) or np.asarray(chosen).dtype != bool:
      raise ValueError(
        f'For the table {name!r} the steps are {chosen!r}; expected bool '
        f'[{length}], one for each step of the episode.'
      )
  return dict(tables)


def pieces(
  episode: types.Episode, chosen: np.ndarray
) -> Iterator[types.Episode]:
  """Yields the runs of consecutive chosen steps as episodes; copies nothing.

  Args:
    episode: of T steps.
    chosen: which of them, bool [T].
  """
  edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen, [0]))))
  for begin, end in edges.reshape(-1, 2):
    cut = lambda column, b=begin, e=end: column[b:e]
    yield types.Episode(
      observation=tree.map_structure(
        lambda column, b=begin, e=end: column[b : e + 1], episode.observation
      ),
      action=tree.map_structure(cut, episode.action),
      reward=cut(episode.reward),
      discount=cut(episode.discount),
      extras=tree.map_structure(cut, dict(episode.extras)),
    )
