"""A replay in the learner's own process, on the JAX device."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types
from serl.agents import builder
from serl.replay import adders
from serl.replay import keys
from serl.replay import priorities
from serl.replay import ring
from serl.replay import steps as steps_lib


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
      ValueError: the shares are no whole numbers that add up to a minibatch, or
        a table is what Reverb alone can be.
    """
    self._table_specs = builder.check_tables(table_specs, batch_spec)
    for table in self._table_specs:
      _check_supported(table)
    self._spec = environment_spec
    self._batch_spec = batch_spec
    self._rng = np.random.default_rng(seed)
    self._shares = builder.shares(table_specs, batch_spec.batch_size)
    self._sources = builder.sources(table_specs)
    self._tables = {
      s.name: ring.Table(s, environment_spec) for s in table_specs
    }

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
      table = self._table(name)
      spanning = steps_lib.spanning(
        episode, steps_lib.span_of(table.spec), self._batch_spec.discount
      )
      table.insert(episode, takes, spanning)

  def can_sample(self) -> bool:
    """Returns whether every table holds what its `min_size` asks for."""
    return all(table.is_ready for table in self._tables.values())

  def size(self, table: str) -> int:
    """Returns the number of transitions in the table of this name."""
    return self._table(table).size

  def sample(self, rng: np.random.Generator) -> types.Batch:
    """Draws the batch of one round, with replacement.

    Args:
      rng: makes the draws.

    Returns:
      A batch [updates_per_round, batch_size, ...] on the JAX device. Each
      minibatch holds exactly its share from each table, in the tables' order.

    Raises:
      RuntimeError: a table holds less than its `min_size`; names it.
    """
    rounds = self._batch_spec.updates_per_round
    draws = [
      table.draw(
        rng,
        (rounds, self._shares[name]),
        self._sources.index(table.spec.source),
      )
      for name, table in self._tables.items()
    ]
    return _gather([table.rows for table in self._tables.values()], draws)

  def update_priorities(self, key: np.ndarray, td_error: np.ndarray) -> None:
    """Sets the priorities of a round's transitions that are still there.

    Args:
      key: `types.Batch.key`, [updates, batch_size, 2].
      td_error: what the agent returned of the round, [updates, batch_size].
    """
    for name, pairs, errors in priorities.by_table(
      self._table_specs, self._batch_spec.batch_size, key, td_error
    ):
      self._tables[name].set_priorities(keys.unpack(pairs), errors)

  def __next__(self) -> types.Batch:
    """Draws the batch of the next round."""
    return self.sample(self._rng)

  def _table(self, name: str) -> ring.Table:
    if name not in self._tables:
      raise KeyError(
        f'no replay table {name!r}; there are {sorted(self._tables)}'
      )
    return self._tables[name]


@jax.jit
def _gather(
  tables: Sequence[ring.Rows], draws: Sequence[ring.Draw]
) -> types.Batch:
  """Returns what was drawn, the tables' rows side by side on axis 1."""
  parts = []
  for rows, draw in zip(tables, draws):
    parts.append(
      types.Batch(
        *ring.take(rows, draw.begin),
        next_observation=ring.take(rows.observation, draw.end),
        source=draw.source,
        weight=draw.weight,
        key=draw.key,
      )
    )
  return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def _check_supported(table: builder.TableSpec) -> None:
  for name, expected in (('remover', 'fifo'), ('make_table', None)):
    value = getattr(table, name)
    if value != expected:
      raise ValueError(
        f'TableSpec.{name} of the table {table.name!r} is {value!r}, expected '
        f'{expected!r} in the replay of one process: Reverb alone does more. '
        'Run it by programs.launch.'
      )
