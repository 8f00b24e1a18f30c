"""Reverb's server, reachable from this machine alone."""

from collections.abc import Iterator, Sequence
import contextlib
import pathlib
import shutil
import tempfile

import reverb

from serl.replay import loopback

_PREFIX = '.reverb_'


@contextlib.contextmanager
def serving(
  tables: Sequence[reverb.Table], port: int, folder: pathlib.Path
) -> Iterator[None]:
  """Serves tables on a port of 127.0.0.1 while the context lasts.

  Args:
    tables: to serve.
    port: to listen on.
    folder: of the run, for Reverb's own files, which go with the context.

  Raises:
    RuntimeError: Reverb cannot listen on the port.
  """
  for left in folder.glob(f'{_PREFIX}*'):  # by a process that was killed
    shutil.rmtree(left)
  with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as own:
    # The checkpointer is never asked to write: Reverb's default one would leave
    # a folder behind.
    checkpointer = reverb.checkpointers.DefaultCheckpointer(own)
    server = reverb.Server(tables, port, checkpointer)
    try:
      loopback.confine(port)
      yield
    finally:
      server.stop()
