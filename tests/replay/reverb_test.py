"""Tables, writing and iterators against a real Reverb server."""

import dataclasses

import numpy as np
import pytest

reverb = pytest.importorskip(
  'reverb', reason='Reverb has wheels for Python 3.10 alone'
)

from serl.agents import builder
from serl.replay import iterators
from serl.replay import packing
from serl.replay import tables
from serl.replay import writing
from serl.testing import fakes

SPEC = fakes.make_image_spec()
TABLES = (
  builder.TableSpec('replay', max_size=60, min_size=5, fraction=0.5),
  builder.TableSpec('demonstrations', 1000, 5, 0.5, 'demonstrations'),
)


@pytest.fixture
def server():
  started = reverb.Server(tables.make_tables(TABLES, SPEC))
  yield started
  started.stop()


@pytest.fixture
def client(server):
  return reverb.Client(f'localhost:{server.port}')


def _episode(length: int, tag: float):
  """Returns an episode whose frames and actions tell step and episode."""
  episode = fakes.make_episode(SPEC, length)
  episode.observation['image'][:] = np.arange(length + 1, dtype=np.uint8)[
    :, None, None, None
  ]
  episode.observation['state']['tcp_pos'][:] = np.arange(length + 1)[:, None]
  episode.action[:] = tag
  return episode


def test_no_transition_crosses_an_episode(client):
  packer = packing.Packing(SPEC)
  for _ in range(3):
    writing.insert(client, packer, _episode(13, tag=0.25), ['replay'])
  writing.insert(client, packer, _episode(13, tag=0.5), ['demonstrations'])
  assert tables.states(client)['replay'] == tables.TableState(39, 39)
  batches = iterators.make_iterator(
    client.server_address, TABLES, SPEC, builder.BatchSpec(4, 32)
  )
  seen = set()
  for _ in range(5):
    batch = next(batches)
    now = batch.observation['image'].astype(int)
    then = batch.next_observation['image'].astype(int)
    assert (then - now == 1).all()
    np.testing.assert_array_equal(
      batch.observation['state']['tcp_pos'][..., 0], now[..., 0, 0, 0]
    )
    seen.update(now[..., 0, 0, 0].ravel())
  assert seen == set(range(13))


def test_every_minibatch_holds_exactly_half_of_each_table(client):
  packer = packing.Packing(SPEC)
  writing.insert(client, packer, _episode(50, tag=0.25), ['replay'])
  writing.insert(client, packer, _episode(5, tag=0.5), ['demonstrations'])
  batches = iterators.make_iterator(
    client.server_address, TABLES, SPEC, builder.BatchSpec(4, 32)
  )
  for _ in range(5):
    batch = next(batches)
    from_demonstrations = batch.action[..., 0] == 0.5
    assert (from_demonstrations.sum(axis=1) == 16).all()
    np.testing.assert_array_equal(
      builder.demonstrated(batch), from_demonstrations
    )
    assert (batch.weight == 1).all()


def test_one_writer_puts_a_step_in_both_tables(client):
  episode = _episode(8, tag=0.25)
  names = [table.name for table in TABLES]
  writing.insert(client, packing.Packing(SPEC), episode, names)
  found = tables.states(client)
  assert {name: found[name].size for name in names} == dict.fromkeys(names, 8)


def test_a_table_can_have_some_of_the_steps(client):
  chosen = np.zeros(13, bool)
  chosen[[2, 3, 4, 9, 12]] = True
  masks = {'replay': np.ones(13, bool), 'demonstrations': chosen}
  writing.insert(client, packing.Packing(SPEC), _episode(13, 0.25), masks)
  found = tables.states(client)
  assert found['replay'] == tables.TableState(13, 13)
  assert found['demonstrations'] == tables.TableState(5, 5)
  for table, expected in zip(TABLES, (range(13), (2, 3, 4, 9, 12))):
    only = (dataclasses.replace(table, fraction=1.0),)
    batches = iterators.make_iterator(
      client.server_address, only, SPEC, builder.BatchSpec(4, 64)
    )
    batch = next(batches)
    now = batch.observation['image'].astype(int)
    then = batch.next_observation['image'].astype(int)
    assert (then - now == 1).all()
    assert set(now[..., 0, 0, 0].ravel()) == set(expected)


def test_oldest_transitions_go_first_and_inserts_are_counted_on(client):
  packer = packing.Packing(SPEC)
  for tag in (0.1, 0.2, 0.3):
    writing.insert(client, packer, _episode(30, tag), ['replay'])
  assert tables.states(client)['replay'] == tables.TableState(60, 90)
  only = (builder.TableSpec('replay', max_size=60, min_size=5),)
  batches = iterators.make_iterator(
    client.server_address, only, SPEC, builder.BatchSpec(4, 64)
  )
  actions = set(next(batches).action.ravel())
  assert actions == {np.float32(0.2), np.float32(0.3)}


def test_server_out_of_reach_is_an_error_and_not_a_wait():
  client = reverb.Client('localhost:1')
  packer = packing.Packing(SPEC)
  with pytest.raises(ConnectionError, match='localhost:1 did not answer'):
    tables.states(client, timeout_s=1)
  with pytest.raises(ConnectionError, match='localhost:1'):
    writing.insert(client, packer, _episode(5, 0.1), ['replay'], timeout_s=1)


def test_signature_follows_the_spec(server):
  client = reverb.Client(f'localhost:{server.port}')
  signature = client.server_info()['replay'].signature
  assert set(signature) == {packing.ROW, packing.BYTES}
  assert tuple(signature[packing.BYTES].shape) == (2, 8 * 8 * 3)
  assert signature[packing.BYTES].dtype == np.uint8


def _sizes_kept(table):
  """Returns which of 9 transitions stay in a table of 3, by their actions."""
  server = reverb.Server(tables.make_tables([table], SPEC))
  client = reverb.Client(f'localhost:{server.port}')
  writing.insert(client, packing.Packing(SPEC), _counted(9), ['replay'])
  batches = iterators.make_iterator(
    client.server_address, [table], SPEC, builder.BatchSpec(1, 64)
  )
  kept = set(next(batches).action.ravel().tolist())
  batches.close()
  server.stop()
  return kept


def _counted(length):
  episode = _episode(length, tag=0.0)
  episode.action[:] = np.arange(length)[:, None] / 16
  return episode


@pytest.mark.parametrize(
  ('remover', 'kept'), [('fifo', {6, 7, 8}), ('lifo', {0, 1, 2})]
)
def test_a_full_table_gives_up_what_its_remover_says(remover, kept):
  table = builder.TableSpec('replay', 3, 1, remover=remover)
  assert _sizes_kept(table) == {step / 16 for step in kept}


def test_a_full_table_can_give_up_what_has_the_lowest_priority():
  table = builder.TableSpec(
    'replay', 3, 1, sampler=builder.Prioritised(), remover='lowest_priority'
  )
  server = reverb.Server(tables.make_tables([table], SPEC))
  client = reverb.Client(f'localhost:{server.port}')
  priorities = tables.Priorities(client, [table], 64)
  packer = packing.Packing(SPEC)
  writing.insert(client, packer, _counted(3), ['replay'])
  batches = iterators.make_iterator(
    client.server_address, [table], SPEC, builder.BatchSpec(1, 64)
  )
  batch = next(batches)
  # The middle one of three has the least error.
  td_error = np.abs(batch.action[..., 0] - 1 / 16)
  priorities.update(batch.key, td_error)
  writing.insert(client, packer, _episode(1, 0.75), ['replay'], priorities.new)
  for _ in range(20):  # what was drawn before comes first
    batch = next(batches)
  assert set(batch.action.ravel().tolist()) <= {0.0, 2 / 16, 0.75}
  assert tables.states(client)['replay'].size == 3
  batches.close()
  server.stop()


def _own_table(spec, signature):
  return reverb.Table(
    name=spec.name,
    sampler=reverb.selectors.Lifo(),
    remover=reverb.selectors.Fifo(),
    max_size=spec.max_size,
    max_times_sampled=0,
    rate_limiter=reverb.rate_limiters.MinSize(spec.min_size),
    signature=signature,
  )


def test_a_table_may_be_made_by_hand():
  own = builder.TableSpec('replay', 9, 1, make_table=_own_table)
  # The newest of nine alone is drawn.
  assert _sizes_kept(own) == {8 / 16}


@pytest.mark.parametrize(
  'make_table',
  [
    lambda spec, signature: None,
    lambda spec, signature: _own_table(
      dataclasses.replace(spec, name='other'), signature
    ),
  ],
)
def test_a_table_made_by_hand_is_one_of_this_name(make_table):
  table = builder.TableSpec('replay', 9, 1, make_table=make_table)
  with pytest.raises(
    ValueError, match=r"'replay' returned .*expected a reverb"
  ):
    tables.make_tables([table], SPEC)


def test_priorities_that_no_server_takes_are_an_error():
  table = builder.TableSpec('replay', 9, 1, sampler=builder.Prioritised())
  server = reverb.Server(tables.make_tables([table], SPEC))
  client = reverb.Client(f'localhost:{server.port}')
  priorities = tables.Priorities(client, [table], 2)
  server.stop()
  with pytest.raises(ConnectionError, match='did not answer in 5 s'):
    priorities.update(np.zeros((1, 2, 2), np.uint32), np.zeros((1, 2)))
