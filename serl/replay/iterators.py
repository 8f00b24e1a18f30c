"""Batches of transitions from Reverb tables, mixed exactly."""

from collections.abc import Iterator, Sequence

import numpy as np
import reverb
import tensorflow as tf

from serl import specs
from serl import types
from serl.agents import builder
from serl.replay import mixing
from serl.replay import packing as packing_lib

# More samples under way would make them older than the newest experience.
_SAMPLES_IN_FLIGHT = 256


def make_iterator(
  server_address: str,
  table_specs: Sequence[builder.TableSpec],
  environment_spec: specs.EnvironmentSpec,
  batch_spec: builder.BatchSpec,
) -> Iterator[types.Transition]:
  """Returns an endless iterator of batches, one for each learner round.

  Each has the leading axes [updates_per_round, batch_size], and every minibatch
  holds exactly its share of each table. `next` waits until every table holds
  its `min_size` transitions. In the server's own process the tables are read
  without gRPC.
  """
  packing = packing_lib.Packing(environment_spec)
  shares = mixing.shares(table_specs, batch_spec.batch_size)
  iterators = [
    _rows(server_address, name, batch_spec.updates_per_round, share)
    for name, share in shares.items()
  ]
  while True:
    parts = [next(iterator) for iterator in iterators]
    yield packing.unpack(
      {
        name: np.concatenate([part[name] for part in parts], axis=1)
        for name in parts[0]
      }
    )


def _rows(
  server_address: str, table: str, updates: int, share: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the columns of one table, each [updates, share, 2, ...]."""
  dataset = reverb.TrajectoryDataset.from_table_signature(
    server_address=server_address,
    table=table,
    max_in_flight_samples_per_worker=_SAMPLES_IN_FLIGHT,
    num_workers_per_iterator=1,
  )
  dataset = dataset.batch(updates * share, drop_remainder=True).prefetch(1)
  options = tf.data.Options()
  options.threading.private_threadpool_size = 1
  for sample in dataset.with_options(options).as_numpy_iterator():
    yield {
      name: column.reshape((updates, share) + column.shape[1:])
      for name, column in sample.data.items()
    }
