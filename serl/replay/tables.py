"""Reverb tables from table specs, and what they say of themselves."""

from collections.abc import Sequence
from typing import NamedTuple

import reverb
import tensorflow as tf

from serl import specs
from serl.agents import builder
from serl.replay import packing as packing_lib

# What the handle of a replay node gives.
Client = reverb.Client


class TableState(NamedTuple):
  """A table as seen now."""

  size: int  # transitions in it
  inserted: int  # transitions that were ever inserted


def make_tables(
  table_specs: Sequence[builder.TableSpec],
  environment_spec: specs.EnvironmentSpec,
) -> list[reverb.Table]:
  """Returns the Reverb tables for `table_specs`.

  No table ever holds up an insert: the robot does not wait for the learner. The
  learner counts its updates itself (programs/ratio.py), because a limiter that
  counts samples would lose its count, and with it the ratio, on a restart.
  """
  columns = packing_lib.Packing(environment_spec).columns
  signature = {
    name: tf.TensorSpec((2, *column.shape), tf.as_dtype(column.dtype))
    for name, column in columns.items()
  }
  return [
    reverb.Table(
      name=table.name,
      sampler=reverb.selectors.Uniform(),
      remover=reverb.selectors.Fifo(),
      max_size=table.max_size,
      max_times_sampled=0,
      rate_limiter=reverb.rate_limiters.MinSize(table.min_size),
      signature=signature,
    )
    for table in table_specs
  ]


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
