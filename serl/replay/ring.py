"""One table of a replay on the JAX device: a ring of rows."""

import functools
from typing import NamedTuple

import jax
from jax import dtypes
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types
from serl.agents import builder
from serl.replay import adders
from serl.replay import keys
from serl.replay import priorities
from serl.replay import steps as steps_lib
from serl.replay import sum_tree

# Rows that one call of the compiled insertion takes; longer episodes take
# several calls, shorter ones are padded, so that it compiles once.
_BLOCK_ROWS = 128
# What a table may take before it holds anything; images grow from here.
_INITIAL_BYTES = 256 * 2**20


class Rows(NamedTuple):
  """Rows of a table, as in `types.Transition`.

  An episode of T steps takes T + 1 of them.
  The last row of an episode has an observation only: it is what the row before
  it led to, and no step starts there. Reward and discount are those of the
  transition that begins in the row, which may span several.
  """

  observation: types.NestedArray  # [rows, *observation_spec]
  action: types.NestedArray  # [rows, *action_spec]
  reward: types.NestedArray  # [rows] float32
  discount: types.NestedArray  # [rows] float32


class Draw(NamedTuple):
  """What was drawn from a table; the rest is as in `types.Batch`."""

  begin: np.ndarray  # [updates, share] int32, slots of rows
  end: np.ndarray  # those that the transitions lead to
  source: np.ndarray
  weight: np.ndarray
  key: np.ndarray


class Table:
  """One ring of rows on the device and the list of its steps on the host.

  Rows have numbers that only grow; row n stands in slot n % capacity.
  """

  def __init__(
    self, spec: builder.TableSpec, environment_spec: specs.EnvironmentSpec
  ):
    """Initialises an empty table.

    Args:
      spec: of the table.
      environment_spec: of the environment that the episodes come from.
    """
    self.spec = spec
    scalar = np.zeros((), np.float32)
    self._empty = Rows(
      observation=adders.copy(specs.zeros_like(environment_spec.observations)),
      action=adders.copy(specs.zeros_like(environment_spec.actions)),
      reward=scalar,
      discount=scalar,
    )
    # Room for the rows that end the episodes, at 16 steps an episode.
    self._enough = spec.max_size + spec.max_size // 16 + _BLOCK_ROWS
    row_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(self._empty))
    self._capacity = min(self._enough, _INITIAL_BYTES // row_bytes + 1)
    # Not allocated before the first insertion.
    self.rows: Rows | None = None
    # The rows that transitions begin in and lead to: those of the n-th in place
    # n % max_size.
    self._begins = np.zeros(spec.max_size, np.int64)
    self._ends = np.zeros(spec.max_size, np.int64)
    self._oldest = 0  # the number of the oldest that is there
    self.size = 0
    self._next_row = 0
    self._drawn_by: sum_tree.SumTree | None = None
    if spec.is_prioritised:
      self._drawn_by = sum_tree.SumTree(spec.max_size)
    self._new_priority = priorities.NEW

  @property
  def is_online(self) -> bool:
    """Whether the actors' experience fills it."""
    return self.spec.source == builder.ONLINE

  @property
  def is_ready(self) -> bool:
    """Whether it holds what its `min_size` asks for."""
    return self.size >= max(1, self.spec.min_size)

  def insert(
    self,
    episode: types.Episode,
    takes: np.ndarray,
    spanning: steps_lib.Spanning,
  ) -> None:
    """Inserts the transitions that begin at some steps of an episode.

    Args:
      episode: of T steps.
      takes: which of them, bool [T].
      spanning: the transitions that begin at each.

    Raises:
      ValueError: there are more of them than the table holds.
    """
    begins = np.flatnonzero(takes)
    if len(begins) > self.spec.max_size:
      raise ValueError(
        f'an episode of {len(begins)} steps does not fit in the replay table '
        f'{self.spec.name!r} of max_size {self.spec.max_size}; make it larger'
      )
    episode = episode._replace(
      reward=spanning.reward, discount=spanning.discount
    )
    # The steps whose rows, and the row behind, some transition needs.
    edges = np.zeros(episode.length + 1, int)
    np.add.at(edges, begins, 1)
    np.add.at(edges, begins + spanning.length[begins], -1)
    needed = np.cumsum(edges)[:-1] > 0
    for first, piece in steps_lib.pieces(episode, needed):
      part = slice(first, first + piece.length)
      self._insert(piece, np.flatnonzero(takes[part]), spanning.length[part])

  def _insert(
    self, piece: types.Episode, begins: np.ndarray, length: np.ndarray
  ) -> None:
    """Inserts steps in a row, and the transitions that begin at `begins`."""
    count = len(begins)
    evicted = max(0, self.size + count - self.spec.max_size)
    self._oldest += evicted
    self.size -= evicted
    first = self._next_row
    oldest_row = self._begins[self._oldest % self.spec.max_size]
    oldest_row = oldest_row if self.size else first
    self._reserve(int(oldest_row), first + piece.length + 1)
    self._write(piece)
    numbers = self._oldest + self.size + np.arange(count)
    places = numbers % self.spec.max_size
    self._begins[places] = first + begins
    self._ends[places] = first + begins + length[begins]
    if self._drawn_by is not None:
      weight = self._new_priority**self.spec.sampler.exponent
      self._drawn_by.set(places, weight)
    self.size += count
    self._next_row = first + piece.length + 1

  def draw(
    self, rng: np.random.Generator, shape: tuple[int, int], source: int
  ) -> Draw:
    """Draws transitions.

    Args:
      rng: makes the draws.
      shape: [updates, share].
      source: what fills this table, see `types.Batch`.

    Raises:
      RuntimeError: the table holds less than its `min_size`.
    """
    if not self.is_ready:
      raise RuntimeError(
        f'the replay table {self.spec.name!r} holds {self.size} transitions, '
        f'expected at least {max(1, self.spec.min_size)}; insert episodes from '
        f'{self.spec.source!r} before sampling'
      )
    weight = np.ones(shape, np.float32)
    if self._drawn_by is None:
      numbers = rng.integers(self.size, size=shape) + self._oldest
      places = numbers % self.spec.max_size
    else:
      places = self._drawn_by.draw(rng.uniform(size=shape))
      numbers = self._oldest + (places - self._oldest) % self.spec.max_size
      weight = priorities.weights(
        self._drawn_by.weights(places) / self._drawn_by.total(),
        self.size,
        self.spec.sampler.importance_exponent,
      )
    return Draw(
      begin=(self._begins[places] % self._capacity).astype(np.int32),
      end=(self._ends[places] % self._capacity).astype(np.int32),
      source=np.full(shape, source, np.int32),
      weight=weight,
      key=keys.pack(numbers),
    )

  def set_priorities(self, numbers: np.ndarray, td_error: np.ndarray) -> None:
    """Sets the priorities of those of the numbered that are still there."""
    values = priorities.of(td_error)
    self._new_priority = max(self._new_priority, float(values.max()))
    numbers = numbers.astype(np.int64)
    is_there = numbers >= self._oldest
    if is_there.any():
      self._drawn_by.set(
        numbers[is_there] % self.spec.max_size,
        values[is_there] ** self.spec.sampler.exponent,
      )

  def _reserve(self, begin: int, end: int) -> None:
    """Makes room for the rows from `begin` up to, not including, `end`."""
    needed = end - begin
    if self.rows is not None and needed <= self._capacity:
      return
    old_capacity = self._capacity
    if needed > self._capacity:
      twice = min(2 * self._capacity, self._enough)
      self._capacity = max(twice, needed + needed // 16)
    if self.rows is None:
      self.rows = jax.tree.map(
        lambda leaf: jnp.zeros(
          (self._capacity, *leaf.shape), dtypes.canonicalize_dtype(leaf.dtype)
        ),
        self._empty,
      )
      return
    live = np.arange(begin, self._next_row)
    source = np.zeros(self._capacity, np.int32)
    source[live % self._capacity] = live % old_capacity
    self.rows = take(self.rows, source)

  def _write(self, episode: types.Episode) -> None:
    count = episode.length + 1
    columns = Rows(*episode[:4])
    for begin in range(0, count, _BLOCK_ROWS):
      block = jax.tree.map(lambda x, b=begin: _pad(x[b:]), columns)
      rows = begin + np.arange(_BLOCK_ROWS)
      slots = (self._next_row + rows) % self._capacity
      # A slot past the end is dropped by the scatter.
      slots = np.where(rows < count, slots, self._capacity).astype(np.int32)
      self.rows = _scatter(self.rows, block, slots)


@functools.partial(jax.jit, donate_argnums=0)
def _scatter(rows: Rows, block: Rows, slots: jax.Array) -> Rows:
  """Returns `rows` with `block` in `slots`; its own buffers are reused."""
  return jax.tree.map(
    lambda old, new: old.at[slots].set(new, mode='drop'), rows, block
  )


@jax.jit
def take(rows: types.NestedArray, slots: jax.Array) -> types.NestedArray:
  """Returns the given slots of `rows`."""
  return jax.tree.map(lambda column: column[slots], rows)


def _pad(column: np.ndarray) -> np.ndarray:
  """Returns the first rows of `column`, zeros after its end."""
  block = np.zeros((_BLOCK_ROWS, *column.shape[1:]), column.dtype)
  part = column[:_BLOCK_ROWS]
  block[: len(part)] = part
  return block
