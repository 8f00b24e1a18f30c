"""Either replay behind the same calls."""

import contextlib

import pytest

from serl.replay import local
from serl.replay import packing


class _Served:
  """A Reverb server's tables, as the learner of a launched run has them."""

  def __init__(self, table_specs, spec, batch_spec):
    import reverb

    from serl.replay import iterators
    from serl.replay import tables

    self._server = reverb.Server(tables.make_tables(table_specs, spec))
    self.client = reverb.Client(f'localhost:{self._server.port}')
    self._priorities = tables.Priorities(
      self.client, table_specs, batch_spec.batch_size
    )
    self.update_priorities = self._priorities.update
    self._packing = packing.Packing(spec, table_specs, batch_spec.discount)
    self._batches = iterators.make_iterator(
      self.client.server_address, table_specs, spec, batch_spec
    )

  def insert(self, episode, names):
    from serl.replay import writing

    writing.insert(
      self.client, self._packing, episode, names, self._priorities.new
    )

  def __iter__(self):
    return self

  def __next__(self):
    return next(self._batches)

  def close(self):
    self._batches.close()
    self._server.stop()


@pytest.fixture(params=['local', 'reverb'])
def make_replay(request):
  """Makes replays of table specs, an environment's spec and a batch spec."""
  with contextlib.ExitStack() as stack:

    def make(table_specs, spec, batch_spec, seed=0):
      if request.param == 'local':
        return local.LocalReplay(table_specs, spec, batch_spec, seed)
      pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10')
      served = _Served(table_specs, spec, batch_spec)
      stack.callback(served.close)
      return served

    yield make
