"""A replay in the learner's own process, on the JAX device."""

from collections.abc import Iterator, Sequence
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
from serl.replay import mixing
from serl.replay import steps as steps_lib

# Rows that one call of the compiled insertion takes; longer episodes take
# several calls, shorter ones are padded, so that it compiles once.
_BLOCK_ROWS = 128
# What a table may take before it holds anything; images grow from here.
_INITIAL_BYTES = 256 * 2**20


class _Rows(NamedTuple):
  """Rows of a table, as in `types.Transition`.

  An episode of T steps takes T + 1 of them.
  The last row of an episode has an observation only: it is what the row before
  it led to, and no step starts there.
  """

  observation: types.NestedArray  # [rows, *observation_spec]
  action: types.NestedArray  # [rows, *action_spec]
  reward: types.NestedArray  # [rows] float32
  discount: types.NestedArray  # [rows] float32


class _Draw(NamedTuple):
  """What was drawn from a table; the rest is as in `types.Batch`."""

  slot: np.ndarray  # [updates, share] int32, of the row that the step starts in
  source: np.ndarray
  weight: np.ndarray
  key: np.ndarray


class LocalReplay(Iterator[types.Batch]):
  """Tables of episodes in memory; an iterator over the batches of a round.

  Each observation is stored once. No transition reaches over the border of an
  episode. A full table gives up its oldest transitions first. One thread uses
  it at a time.
  """

  def __init__(
    self,
    table_specs: Sequence[builder.TableSpec],
    environment_spec: specs.EnvironmentSpec,
    batch_spec: builder.BatchSpec,
    seed: int = 0,
  ):
    """Initialises empty tables.

    Args:
      table_specs: what each table holds, and its share of a minibatch.
      environment_spec: of the environment that the episodes come from.
      batch_spec: the shape of the batch of one round.
      seed: of the draws that the iterator makes.

    Raises:
      ValueError: the shares are no whole numbers that add up to a minibatch.
    """
    self._spec = environment_spec
    self._batch_spec = batch_spec
    self._rng = np.random.default_rng(seed)
    self._shares = mixing.shares(table_specs, batch_spec.batch_size)
    self._sources = builder.sources(table_specs)
    self._tables = {s.name: _Table(s, environment_spec) for s in table_specs}

  def insert(
    self, episode: types.Episode, tables: steps_lib.Tables | None = None
  ) -> None:
    """Inserts an episode.

    Args:
      episode: arrays that fit the environment's spec.
      tables: names of the tables that get every step, by default each whose
        source is 'online'; or by name, which steps, bool [T].

    Raises:
      ValueError: the episode does not fit the spec, or is longer than a table,
        or the steps of a table are not [T].
      KeyError: there is no such table.
    """
    adders.check(episode, self._spec)
    if tables is None:
      tables = [t.spec.name for t in self._tables.values() if t.is_online]
    chosen = steps_lib.by_table(tables, episode.length)
    for name, takes in chosen.items():
      for piece in steps_lib.pieces(episode, takes):
        self._table(name).insert(piece)

  def can_sample(self) -> bool:
    """Returns whether every table holds what its `min_size` asks for."""
    return all(table.is_ready for table in self._tables.values())

  def size(self, table: str) -> int:
    """Returns the number of transitions in the table of this name."""
    return self._table(table).size

  def sample(self, rng: np.random.Generator) -> types.Batch:
    """Draws the batch of one round, uniformly and with replacement.

    Args:
      rng: makes the draws.

    Returns:
      A batch [updates_per_round, batch_size, ...] on the JAX device. Each
      minibatch holds exactly its share from each table, in the tables' order.

    Raises:
      RuntimeError: a table holds less than its `min_size`; names it.
    """
    rounds = self._batch_spec.updates_per_round
    rows, draws = [], []
    for name, table in self._tables.items():
      shape = (rounds, self._shares[name])
      slot, key = table.draw(rng, shape)
      source = self._sources.index(table.spec.source)
      draws.append(
        _Draw(
          slot,
          np.full(shape, source, np.int32),
          np.ones(shape, np.float32),
          key,
        )
      )
      rows.append(table.rows)
    return _gather(rows, draws)

  def __next__(self) -> types.Batch:
    """Draws the batch of the next round."""
    return self.sample(self._rng)

  def _table(self, name: str) -> '_Table':
    if name not in self._tables:
      raise KeyError(
        f'no replay table {name!r}; there are {sorted(self._tables)}'
      )
    return self._tables[name]


class _Table:
  """One ring of rows on the device and the list of its steps on the host.

  Rows have numbers that only grow; row n stands in slot n % capacity.
  """

  def __init__(
    self, spec: builder.TableSpec, environment_spec: specs.EnvironmentSpec
  ):
    self.spec = spec
    scalar = np.zeros((), np.float32)
    self._empty = _Rows(
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
    self.rows: _Rows | None = None
    # The rows that steps start from: those of step n in place n % max_size.
    self._starts = np.zeros(spec.max_size, np.int64)
    self._oldest = 0  # the number of the oldest step that is there
    self.size = 0
    self._next_row = 0

  @property
  def is_online(self) -> bool:
    return self.spec.source == 'online'

  @property
  def is_ready(self) -> bool:
    return self.size >= max(1, self.spec.min_size)

  def insert(self, episode: types.Episode) -> None:
    length = episode.length
    if length > self.spec.max_size:
      raise ValueError(
        f'an episode of {length} steps does not fit in the replay table '
        f'{self.spec.name!r} of max_size {self.spec.max_size}; make it larger'
      )
    evicted = max(0, self.size + length - self.spec.max_size)
    self._oldest += evicted
    self.size -= evicted
    first = self._next_row
    oldest_row = self._starts[self._oldest % self.spec.max_size]
    oldest_row = oldest_row if self.size else first
    self._reserve(int(oldest_row), first + length + 1)
    self._write(episode)
    places = (self._oldest + self.size + np.arange(length)) % self.spec.max_size
    self._starts[places] = first + np.arange(length)
    self.size += length
    self._next_row = first + length + 1

  def draw(
    self, rng: np.random.Generator, shape: tuple[int, ...]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns slots of rows that steps start from, int32, and their keys."""
    if not self.is_ready:
      raise RuntimeError(
        f'the replay table {self.spec.name!r} holds {self.size} transitions, '
        f'expected at least {max(1, self.spec.min_size)}; insert episodes from '
        f'{self.spec.source!r} before sampling'
      )
    steps = rng.integers(self.size, size=shape) + self._oldest
    rows = self._starts[steps % self.spec.max_size]
    return (rows % self._capacity).astype(np.int32), keys.pack(steps)

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
    self.rows = _take(self.rows, source)

  def _write(self, episode: types.Episode) -> None:
    count = episode.length + 1
    columns = _Rows(*episode[:4])
    for begin in range(0, count, _BLOCK_ROWS):
      block = jax.tree.map(lambda x, b=begin: _pad(x[b:]), columns)
      rows = begin + np.arange(_BLOCK_ROWS)
      slots = (self._next_row + rows) % self._capacity
      # A slot past the end is dropped by the scatter.
      slots = np.where(rows < count, slots, self._capacity).astype(np.int32)
      self.rows = _scatter(self.rows, block, slots)


@functools.partial(jax.jit, donate_argnums=0)
def _scatter(rows: _Rows, block: _Rows, slots: jax.Array) -> _Rows:
  """Returns `rows` with `block` in `slots`; its own buffers are reused."""
  return jax.tree.map(
    lambda old, new: old.at[slots].set(new, mode='drop'), rows, block
  )


@jax.jit
def _take(rows: types.NestedArray, slots: jax.Array) -> types.NestedArray:
  """Returns the given slots of `rows`."""
  return jax.tree.map(lambda column: column[slots], rows)


@jax.jit
def _gather(tables: Sequence[_Rows], draws: Sequence[_Draw]) -> types.Batch:
  """Returns what was drawn, the tables' rows side by side on axis 1."""
  parts = []
  for rows, draw in zip(tables, draws):
    end = (draw.slot + 1) % rows.reward.shape[0]
    parts.append(
      types.Batch(
        *_take(rows, draw.slot),
        next_observation=_take(rows.observation, end),
        source=draw.source,
        weight=draw.weight,
        key=draw.key,
      )
    )
  return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def _pad(column: np.ndarray) -> np.ndarray:
  """Returns the first rows of `column`, zeros after its end."""
  block = np.zeros((_BLOCK_ROWS, *column.shape[1:]), column.dtype)
  part = column[:_BLOCK_ROWS]
  block[: len(part)] = part
  return block
