"""The priorities of prioritised tables: how they are weighed and written back.

Schaul et al. 2016, arXiv 1511.05952.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from serl.agents import builder

NEW = 1.0  # the priority of the first transitions of a table
_LEAST = 1e-6  # added to all, lest one is never drawn again


def of(td_error: np.ndarray) -> np.ndarray:
  """Returns the priorities [...] of TD errors; section 3.3, variant 1."""
  return np.abs(np.asarray(td_error, float)) + _LEAST


def weights(
  probability: np.ndarray, size: int | np.ndarray, importance_exponent: float
) -> np.ndarray:
  """Returns the importance weights of what was drawn; section 3.4.

  Args:
    probability: of each row, [updates, share].
    size: transitions in the table when it was drawn.
    importance_exponent: see `builder.Prioritised`.

  Returns:
    [updates, share] float32; the largest in each minibatch is 1.
  """
  raw = np.power(size * np.asarray(probability, float), -importance_exponent)
  return (raw / raw.max(axis=-1, keepdims=True)).astype(np.float32)


def by_table(
  table_specs: Sequence[builder.TableSpec],
  batch_size: int,
  key: np.ndarray,
  td_error: np.ndarray,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """Yields the names of prioritised tables with their rows' columns, flat.

  Args:
    table_specs: of all tables, whose rows stand in each minibatch in order.
    batch_size: of a minibatch.
    key: `types.Batch.key` of a round, [updates, batch_size, 2].
    td_error: what the agent returned of it, [updates, batch_size].

  Raises:
    ValueError: it is of another shape.
  """
  expected = key.shape[:-1]
  if np.shape(td_error) != expected:
    raise ValueError(
      f'The metric {builder.TD_ERROR!r} of the agent has the shape '
      f'{list(np.shape(td_error))}, expected [updates_per_round, batch_size] = '
      f'{list(expected)}, one for each row of the batch.'
    )
  begin = 0
  for table in table_specs:
    end = begin + builder.shares(table_specs, batch_size)[table.name]
    if table.is_prioritised:
      rows = np.s_[:, begin:end]
      yield table.name, key[rows].reshape(-1, 2), td_error[rows].ravel()
    begin = end
