"""Batches from Reverb tables, mixed exactly."""

from collections.abc import Iterator, Sequence

import numpy as np
import reverb
import tensorflow as tf
import tree

from serl import specs
from serl import types
from serl.agents import builder
from serl.replay import keys
from serl.replay import packing as packing_lib
from serl.replay import priorities

# More samples under way would make them older than the newest experience.
_SAMPLES_IN_FLIGHT = 256


def make_iterator(
  server_address: str,
  table_specs: Sequence[builder.TableSpec],
  environment_spec: specs.EnvironmentSpec,
  batch_spec: builder.BatchSpec,
) -> Iterator[types.Batch]:
  """Returns an endless iterator of batches, one for each learner round.

  Each has the leading axes [updates_per_round, batch_size], and every minibatch
  holds exactly its share of each table. `next` waits until every table holds
  its `min_size` transitions. In the server's own process the tables are read
  without gRPC.
  """
  builder.check_tables(table_specs, batch_spec)
  packing = packing_lib.Packing(environment_spec, table_specs)
  shares = builder.shares(table_specs, batch_spec.batch_size)
  sources = builder.sources(table_specs)
  iterators = [
    _rows(
      server_address,
      packing,
      table,
      (batch_spec.updates_per_round, shares[table.name]),
      sources.index(table.source),
    )
    for table in table_specs
  ]
  while True:
    parts = [next(iterator) for iterator in iterators]
    yield tree.map_structure(lambda *x: np.concatenate(x, axis=1), *parts)


def _rows(
  server_address: str,
  packing: packing_lib.Packing,
  table: builder.TableSpec,
  shape: tuple[int, int],
  source: int,
) -> Iterator[types.Batch]:
  """Yields rows [updates, share, ...] of one table."""
  dataset = reverb.TrajectoryDataset.from_table_signature(
    server_address=server_address,
    table=table.name,
    max_in_flight_samples_per_worker=_SAMPLES_IN_FLIGHT,
    num_workers_per_iterator=1,
  )
  dataset = dataset.batch(shape[0] * shape[1], drop_remainder=True).prefetch(1)
  options = tf.data.Options()
  options.threading.private_threadpool_size = 1
  for sample in dataset.with_options(options).as_numpy_iterator():
    columns = {
      name: column.reshape(shape + column.shape[1:])
      for name, column in sample.data.items()
    }
    weight = np.ones(shape, np.float32)
    if table.is_prioritised:
      weight = priorities.weights(
        sample.info.probability.reshape(shape),
        sample.info.table_size.reshape(shape),
        table.sampler.importance_exponent,
      )
    yield types.Batch(
      *packing.unpack(columns, table.name),
      source=np.full(shape, source, np.int32),
      weight=weight,
      key=keys.pack(sample.info.key.reshape(shape)),
    )
