"""Reverb tables from table specs, and what they say of themselves."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import reverb
import tensorflow as tf

from serl import specs
from serl.agents import builder
from serl.replay import keys
from serl.replay import packing as packing_lib
from serl.replay import priorities

# What the handle of a replay node gives.
Client = reverb.Client


class TableState(NamedTuple):
  """A table as seen now."""

  size: int  # transitions in it
  inserted: int  # transitions that were ever inserted


_REMOVERS = {
  'fifo': reverb.selectors.Fifo,
  'lifo': reverb.selectors.Lifo,
  'uniform': reverb.selectors.Uniform,
  'lowest_priority': reverb.selectors.MinHeap,
}


def make_tables(
  table_specs: Sequence[builder.TableSpec],
  environment_spec: specs.EnvironmentSpec,
) -> list[reverb.Table]:
  """Returns the Reverb tables for `table_specs`.

  No table ever holds up an insert: the robot does not wait for the learner. The
  learner counts its updates itself (programs/ratio.py), because a limiter that
  counts samples would lose its count, and with it the ratio, on a restart.

  Raises:
    ValueError: a `TableSpec.make_table` made no table of this name.
  """
  columns = packing_lib.Packing(environment_spec, table_specs).columns
  signature = {
    name: tf.TensorSpec((2, *column.shape), tf.as_dtype(column.dtype))
    for name, column in columns.items()
  }
  return [_make_table(table, signature) for table in table_specs]


def _make_table(
  table: builder.TableSpec, signature: Mapping[str, tf.TensorSpec]
) -> reverb.Table:
  if table.make_table is not None:
    made = table.make_table(table, signature)
    name = getattr(made, 'name', None)
    if not isinstance(made, reverb.Table) or name != table.name:
      raise ValueError(
        f'make_table of the table {table.name!r} returned a '
        f'{type(made).__name__} of the name {name!r}, expected a reverb.Table '
        'of this name, which it is given as `spec.name`.'
      )
    return made
  sampler = reverb.selectors.Uniform()
  if table.is_prioritised:
    sampler = reverb.selectors.Prioritized(table.sampler.exponent)
  return reverb.Table(
    name=table.name,
    sampler=sampler,
    remover=_REMOVERS[table.remover](),
    max_size=table.max_size,
    max_times_sampled=0,
    rate_limiter=reverb.rate_limiters.MinSize(table.min_size),
    signature=signature,
  )


class Priorities:
  """Those of a server's prioritised tables, as the learner sets them."""

  def __init__(
    self,
    client: reverb.Client,
    table_specs: Sequence[builder.TableSpec],
    batch_size: int,
  ):
    """Initialises them; the tables hold nothing yet.

    Args:
      client: of the server.
      table_specs: of all its tables.
      batch_size: of a minibatch.
    """
    self._client = client
    self._table_specs = tuple(table_specs)
    self._batch_size = batch_size
    # Of what is inserted next, the largest that there was. By table.
    self.new = {table.name: priorities.NEW for table in table_specs}

  def update(self, key: np.ndarray, td_error: np.ndarray) -> None:
    """Sets the priorities of a round's transitions that are still there.

    Args:
      key: `types.Batch.key`, [updates, batch_size, 2].
      td_error: what the agent returned of the round, [updates, batch_size].

    Raises:
      ConnectionError: the server did not take them.
    """
    # What sets priorities waits for a server that is gone, without a time-out.
    states(self._client)
    for table, pairs, errors in priorities.by_table(
      self._table_specs, self._batch_size, key, td_error
    ):
      values = priorities.of(errors)
      self.new[table] = max(self.new[table], float(values.max()))
      updates = dict(zip(keys.unpack(pairs).tolist(), values.tolist()))
      try:
        self._client.mutate_priorities(table, updates)
      except (RuntimeError, reverb.errors.ReverbError) as error:
        raise ConnectionError(
          f'The replay server at {self._client.server_address} did not take '
          f'{len(updates)} priorities of the table {table!r}: {error}'
        ) from error


def states(client: reverb.Client, timeout_s: int = 5) -> dict[str, TableState]:
  """Returns the state of each table of a server.

  Raises:
    ConnectionError: the server did not answer in `timeout_s` seconds.
  """
  try:
    found = client.server_info(timeout=timeout_s)
  except (RuntimeError, reverb.errors.ReverbError) as error:
    raise ConnectionError(
      f'The replay server at {client.server_address} did not answer in '
      f'{timeout_s} s: {error}'
    ) from error
  return {
    name: TableState(
      size=info.current_size,
      inserted=info.rate_limiter_info.insert_stats.completed,
    )
    for name, info in found.items()
  }
