"""A real Reverb server that only this machine can reach."""

import contextlib
import socket

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

import psutil
import reverb

from serl.replay import iterators
from serl.replay import loopback
from serl.replay import packing
from serl.replay import tables
from serl.replay import writing
from serl.testing import fakes
from serl.utils import addresses
from tests.programs.distributed import fake_run

SPEC = fakes.make_state_spec()


@contextlib.contextmanager
def _serving(builder):
  # As a launcher holds it.
  with addresses.hold_free() as held:
    port = held.getsockname()[1]
    server = reverb.Server(
      tables.make_tables(builder.make_tables(), SPEC), port
    )
    try:
      loopback.confine(server.port)
      yield server
    finally:
      server.stop()


def _listens_on(port: int) -> set[str]:
  return {
    connection.laddr.ip
    for connection in psutil.Process().net_connections('tcp')
    if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
  }


def test_listens_on_the_loopback_alone_and_goes_on_serving(tmp_path):
  builder = fake_run.make_config(tmp_path).builder
  with _serving(builder) as server:
    assert _listens_on(server.port) == {'127.0.0.1'}
    with pytest.raises(ConnectionRefusedError):
      socket.create_connection(('127.0.0.2', server.port), 5)
    client = reverb.Client(f'localhost:{server.port}')
    names = [table.name for table in builder.make_tables()]
    for seed in range(5):
      episode = fakes.make_episode(SPEC, 10, seed=seed)
      writing.insert(client, packing.Packing(SPEC), episode, names)
    assert {s.size for s in tables.states(client).values()} == {50}
    iterator = iterators.make_iterator(
      client.server_address, builder.make_tables(), SPEC, builder.batch_spec()
    )
    for _ in range(20):
      assert next(iterator).reward.shape == (2, 8)
    # Connections that come later are served like the first.
    for _ in range(3):
      again = reverb.Client(f'localhost:{server.port}')
      assert tables.states(again)[names[0]].size == 50


def test_cuts_connections_from_elsewhere():
  addresses = {
    address.address
    for interface in psutil.net_if_addrs().values()
    for address in interface
    if address.family == socket.AF_INET
  } - {'127.0.0.1'}
  if not addresses:
    pytest.skip('this machine has no interface but the loopback')
  with contextlib.ExitStack() as stack:
    # As gRPC opens its own.
    listener = socket.create_server(('', 0), reuse_port=True)
    stack.enter_context(listener)
    port = listener.getsockname()[1]
    elsewhere = addresses.pop()
    far = stack.enter_context(socket.create_connection((elsewhere, port), 5))
    accepted, _ = listener.accept()
    stack.enter_context(accepted)
    near = stack.enter_context(socket.create_connection(('127.0.0.1', port), 5))
    kept, _ = listener.accept()
    stack.enter_context(kept)
    loopback.confine(port)
    assert far.recv(1) == b''
    kept.sendall(b'x')
    assert near.recv(1) == b'x'
    with pytest.raises(ConnectionRefusedError):
      socket.create_connection((elsewhere, port), 5)


def test_refuses_a_port_on_which_nothing_listens():
  with socket.socket() as bound:
    bound.bind(('127.0.0.1', 0))
    with pytest.raises(OSError, match='does not listen on port'):
      loopback.confine(bound.getsockname()[1])
