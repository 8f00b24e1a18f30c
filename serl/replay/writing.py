"""Inserting episodes into Reverb tables."""

from collections.abc import Mapping

import numpy as np
import reverb

from serl import types
from serl.replay import packing as packing_lib
from serl.replay import steps
from serl.replay import tables as tables_lib

# Rows of small numbers are cheap to send in bulk. Images are not: a sample
# decompresses the whole chunk that it falls in.
_ROWS_PER_CHUNK = 10
_STEPS_PER_FLUSH = 20  # more are taken for a forgotten flush, and logged


def insert(
  client: reverb.Client,
  packing: packing_lib.Packing,
  episode: types.Episode,
  tables: steps.Tables,
  priorities: Mapping[str, float] | None = None,
  timeout_s: int = 20,
) -> None:
  """Inserts transitions of `episode` into each of `tables`.

  Each frame is sent and stored once: the items of all tables refer to rows of
  one writer, the one that a transition begins in and the one that it leads to,
  and none crosses the episode's border.

  Args:
    client: of the server.
    packing: of the episode's environment and the tables.
    episode: arrays that fit it.
    tables: names of those that get every step; or by name, which, bool [T].
    priorities: of new transitions by table, 1 where none is named.
    timeout_s: for the server to take it, s.

  Raises:
    ValueError: the steps of a table are not [T].
    ConnectionError: the server did not take it in `timeout_s` seconds; a part
      of the episode may have been inserted.
  """
  columns = packing.pack(episode)
  chosen = steps.by_table(tables, episode.length)
  # Making a writer asks the server for its signatures, without a time-out.
  tables_lib.states(client, timeout_s)
  begins, reach = {}, 1
  for table, takes in chosen.items():
    ends = packing.ends(episode, table)
    reach = max(reach, int(np.max(ends - np.arange(episode.length))))
    begins[table] = _by_end(ends, takes)
  writer = client.trajectory_writer(num_keep_alive_refs=reach + 1)
  for name in columns:
    # Reverb takes two rows of one chunk for neighbours, however far apart.
    in_bulk = name == packing_lib.ROW and reach == 1
    length = _ROWS_PER_CHUNK if in_bulk else 1
    writer.configure(
      (name,),
      num_keep_alive_refs=max(length, reach) + 1,
      max_chunk_length=length,
    )
  priorities = priorities or {}
  try:
    for t in range(episode.length + 1):
      writer.append({name: rows[t] for name, rows in columns.items()})
      for table, transitions in begins.items():
        for begin in transitions.get(t, ()):
          writer.create_item(
            table=table,
            priority=priorities.get(table, 1.0),
            trajectory={
              name: column[[begin, t]]
              for name, column in writer.history.items()
            },
          )
      if t and t % _STEPS_PER_FLUSH == 0:
        writer.flush(0, timeout_ms=1000 * timeout_s)
    writer.end_episode(timeout_ms=1000 * timeout_s)
  except (RuntimeError, reverb.errors.ReverbError) as error:
    raise ConnectionError(
      f'The replay server at {client.server_address} did not take an episode '
      f'of {episode.length} steps within {timeout_s} s: {error}'
    ) from error
  finally:
    writer.close()


def _by_end(ends: np.ndarray, takes: np.ndarray) -> dict[int, list[int]]:
  """Returns the steps that transitions begin at by the row that they lead to.

  Args:
    ends: the row that the one from each step leads to, [T].
    takes: which steps transitions begin at, bool [T].
  """
  begins: dict[int, list[int]] = {}
  for begin in np.flatnonzero(takes).tolist():
    begins.setdefault(int(ends[begin]), []).append(begin)
  return begins
