"""How a step lies in the replay: few columns, because each one costs.

A sampled item costs by the column, not by the byte, and so does what the server
keeps of it beside its bytes. So the small numbers of a step (state, action,
reward, discount) stand in one float32 row, its images in one row of bytes, and
only other leaves have columns of their own.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tree

from serl import specs
from serl import types
from serl.agents import builder
from serl.replay import steps

ROW = 'row'  # the column of the small numbers
BYTES = 'bytes'  # the column of the images
_LARGE = 4096  # entries; a larger float leaf has a column of its own


@dataclasses.dataclass(frozen=True)
class Column:
  """One step's part of a column."""

  shape: tuple[int, ...]
  dtype: np.dtype


class _Place(NamedTuple):
  """Where a leaf stands."""

  column: str
  entries: slice  # of the column's last axis
  shape: tuple[int, ...]  # that they have as a leaf


class Packing:
  """Packs episodes into columns and unpacks pairs of rows to transitions.

  Row t of a column is observation t's leaves and, in `ROW`, action t, reward t
  and discount t; the row after the last step holds the last observation and
  zeros. A transition of n steps is rows t and t + n of an episode's columns;
  its reward and discount stand in row t, beside those of one step.
  """

  def __init__(
    self,
    spec: specs.EnvironmentSpec,
    table_specs: Sequence[builder.TableSpec] = (),
    discount: float | None = None,
  ):
    """Initialises the packing.

    Args:
      spec: of the episodes' environment.
      table_specs: whose `n_step` is not 1, at least.
      discount: see `builder.BatchSpec`; None to pack no transitions of several
        steps.

    Raises:
      ValueError: the actions are not one array of real numbers.
    """
    self._spec = spec
    self._discount = discount
    self._spans = {table.name: steps.span_of(table) for table in table_specs}
    if not isinstance(spec.actions, specs.Array):
      raise ValueError(
        f'The action spec is {spec.actions!r}, expected one array: nested '
        'actions are not stored.'
      )
    if spec.actions.dtype.kind != 'f':
      raise ValueError(
        f'The actions are {spec.actions.dtype}, expected real numbers.'
      )
    self._columns: dict[str, Column] = {}
    self._places: dict[str, _Place] = {}
    observations = specs.flatten(spec.observations, 'observation')
    self._paths = list(observations)
    for path, leaf in observations.items():
      small = int(np.prod(leaf.shape)) <= _LARGE
      # Networks compute in float32, whatever the environment's floats are.
      dtype = np.dtype(np.float32) if leaf.dtype.kind == 'f' else leaf.dtype
      if dtype == np.float32 and small:
        self._place(path, leaf.shape, ROW, np.float32)
      elif leaf.dtype == np.uint8:
        self._place(path, leaf.shape, BYTES, np.uint8)
      else:
        self._place(path, leaf.shape, path, dtype)
    self._place('action', spec.actions.shape, ROW, np.float32)
    for span in {steps.ONE: None, **dict.fromkeys(self._spans.values())}:
      for path in _of(span):
        self._place(path, (), ROW, np.float32)

  def _place(self, path: str, shape: tuple[int, ...], column: str, dtype):
    """Appends a leaf to a column."""
    start = self._columns[column].shape[0] if column in self._columns else 0
    stop = start + int(np.prod(shape))
    self._places[path] = _Place(column, slice(start, stop), tuple(shape))
    self._columns[column] = Column((stop,), np.dtype(dtype))

  @property
  def columns(self) -> dict[str, Column]:
    """The columns by name."""
    return dict(self._columns)

  def pack(self, episode: types.Episode) -> dict[str, np.ndarray]:
    """Returns the columns of an episode of T steps, each [T + 1, entries]."""
    observations = specs.flatten(episode.observation, 'observation')
    if sorted(observations) != sorted(self._paths):
      raise ValueError(
        f'The episode observes {sorted(observations)}, expected '
        f'{sorted(self._paths)}.'
      )
    leaves = {
      **observations,
      'action': episode.action,
      'reward': episode.reward,
      'discount': episode.discount,
    }
    for span in set(self._spans.values()) - {steps.ONE}:
      spanning = steps.spanning(episode, span, self._discount)
      leaves.update(zip(_of(span), (spanning.reward, spanning.discount)))
    packed = {
      name: np.zeros((episode.length + 1, *column.shape), column.dtype)
      for name, column in self._columns.items()
    }
    for path, place in self._places.items():
      values = np.asarray(leaves[path])
      rows = packed[place.column][: len(values), place.entries]
      rows[:] = values.reshape(len(values), -1)
    return packed

  def ends(self, episode: types.Episode, table: str) -> np.ndarray:
    """Returns the row that the transition from each step leads to, int [T].

    Args:
      episode: of T steps.
      table: that gets the transitions.
    """
    span = self._spans.get(table, steps.ONE)
    length = steps.spanning(episode, span, self._discount).length
    return np.arange(episode.length) + length

  def unpack(
    self, columns: Mapping[str, Any], table: str = ''
  ) -> types.Transition:
    """Returns the transitions of row pairs.

    Args:
      columns: each [..., 2, entries], the rows that a transition begins in and
        leads to.
      table: that they are from.
    """
    reward, discount = _of(self._spans.get(table, steps.ONE))

    def part(path: str, offset: int):
      column, entries, shape = self._places[path]
      rows = columns[column][..., offset, entries]
      return rows.reshape(rows.shape[:-1] + shape)

    def observation(offset: int):
      return tree.unflatten_as(
        self._spec.observations, [part(p, offset) for p in self._paths]
      )

    return types.Transition(
      observation=observation(0),
      action=part('action', 0),
      reward=part(reward, 0),
      discount=part(discount, 0),
      next_observation=observation(1),
    )


def _of(span: steps.Span) -> tuple[str, str]:
  """Returns the paths of the reward and the discount of such transitions."""
  if span == steps.ONE:
    return 'reward', 'discount'
  name = f'{span.n_step}' + ('_crossing' if span.crosses_interventions else '')
  return f'reward/{name}', f'discount/{name}'
