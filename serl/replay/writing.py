"""Inserting episodes into Reverb tables."""

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
  timeout_s: int = 20,
) -> None:
  """Inserts transitions of `episode` into each of `tables`.

  Each frame is sent and stored once: the items of all tables refer to rows t
  and t + 1 of one writer, and none crosses the episode's border.

  Args:
    client: of the server.
    packing: of the episode's environment.
    episode: arrays that fit it.
    tables: names of those that get every step; or by name, which, bool [T].
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
  writer = client.trajectory_writer(num_keep_alive_refs=2)
  for name in columns:
    length = _ROWS_PER_CHUNK if name == packing_lib.ROW else 1
    writer.configure(
      (name,), num_keep_alive_refs=length + 1, max_chunk_length=length
    )
  try:
    for t in range(episode.length + 1):
      writer.append({name: rows[t] for name, rows in columns.items()})
      if t == 0:
        continue
      pair = {name: column[-2:] for name, column in writer.history.items()}
      for table, takes in chosen.items():
        if takes[t - 1]:
          writer.create_item(table=table, priority=1.0, trajectory=pair)
      if t % _STEPS_PER_FLUSH == 0:
        writer.flush(0, timeout_ms=1000 * timeout_s)
    writer.end_episode(timeout_ms=1000 * timeout_s)
  except (RuntimeError, reverb.errors.ReverbError) as error:
    raise ConnectionError(
      f'The replay server at {client.server_address} did not take an episode '
      f'of {episode.length} steps within {timeout_s} s: {error}'
    ) from error
  finally:
    writer.close()
