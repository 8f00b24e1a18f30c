"""How a step lies in the replay: few columns, because each one costs.

A sampled item costs by the column, not by the byte. So the small numbers of a
step (state, action, reward, discount) stand in one float32 row, and only images
and other large or non-float leaves have columns of their own.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
import tree

from serl import specs
from serl import types

ROW = 'row'  # the column of the small numbers
_LARGE = 4096  # entries; a larger float leaf has a column of its own


@dataclasses.dataclass(frozen=True)
class Column:
  """One step's part of a column."""

  shape: tuple[int, ...]
  dtype: np.dtype


class Packing:
  """Packs episodes into columns and unpacks pairs of rows to transitions.

  Row t of `ROW` is observation t's small leaves, action t, reward t and
  discount t; the row after the last step holds the last observation and zeros.
  A transition is rows t and t + 1 of an episode's columns.
  """

  def __init__(self, spec: specs.EnvironmentSpec):
    self._spec = spec
    self._in_row: dict[str, tuple[slice, tuple[int, ...]]] = {}
    self._apart: dict[str, Column] = {}
    self._size = 0
    self._paths = list(specs.flatten(spec.observations, 'observation'))
    observations = specs.flatten(spec.observations, 'observation')
    for path, leaf in observations.items():
      size = int(np.prod(leaf.shape))
      if leaf.dtype == np.float32 and size <= _LARGE:
        self._take(path, leaf.shape)
      else:
        self._apart[path] = Column(tuple(leaf.shape), np.dtype(leaf.dtype))
    if not isinstance(spec.actions, specs.Array):
      raise ValueError(
        f'The action spec is {spec.actions!r}, expected one array: nested '
        'actions are not stored.'
      )
    if spec.actions.dtype != np.float32:
      raise ValueError(
        f'The actions are {spec.actions.dtype}, expected float32.'
      )
    self._take('action', spec.actions.shape)
    self._take('reward', ())
    self._take('discount', ())

  def _take(self, path: str, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    self._in_row[path] = (slice(self._size, self._size + size), tuple(shape))
    self._size += size

  @property
  def columns(self) -> dict[str, Column]:
    """The columns by name."""
    row = Column((self._size,), np.dtype(np.float32))
    return {ROW: row, **self._apart}

  def pack(self, episode: types.Episode) -> dict[str, np.ndarray]:
    """Returns the columns of an episode of T steps, each [T + 1, ...]."""
    length = episode.length
    observations = specs.flatten(episode.observation, 'observation')
    if sorted(observations) != sorted(self._paths):
      raise ValueError(
        f'The episode observes {sorted(observations)}, expected '
        f'{sorted(self._paths)}.'
      )
    row = np.zeros((length + 1, self._size), np.float32)
    leaves = {
      **observations,
      'action': episode.action,
      'reward': episode.reward,
      'discount': episode.discount,
    }
    for path, (place, _) in self._in_row.items():
      values = np.asarray(leaves[path], np.float32)
      row[: len(values), place] = values.reshape(len(values), -1)
    return {ROW: row, **{path: observations[path] for path in self._apart}}

  def unpack(self, columns: Mapping[str, Any]) -> types.Transition:
    """Returns the transitions of row pairs.

    Args:
      columns: each [..., 2, *column.shape], rows t and t + 1.
    """
    row = columns[ROW]

    def part(path: str, offset: int):
      if path in self._apart:
        axis = row.ndim - 2
        return columns[path][(slice(None),) * axis + (offset,)]
      place, shape = self._in_row[path]
      return row[..., offset, place].reshape(row.shape[:-2] + shape)

    def observation(offset: int):
      return tree.unflatten_as(
        self._spec.observations, [part(p, offset) for p in self._paths]
      )

    return types.Transition(
      observation=observation(0),
      action=part('action', 0),
      reward=part('reward', 0),
      discount=part('discount', 0),
      next_observation=observation(1),
    )
