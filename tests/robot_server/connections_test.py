"""Connections that nobody needs keep nobody from holding the arm."""

import contextlib
import http.client
import json
import socket
import time
import types
from urllib import parse

import pytest

from robot_server import serving
from robot_server import testing

HERE = [0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
COUNT = 1000
HEAD = b'POST /pose HTTP/1.1\r\nHost: 127.0.0.1\r\n'
JSON = {'Content-Type': 'application/json'}
SENDS = {
  'nothing': b'',
  'blank lines': b'\r\n',
  'a part of the first line': b'POST /po',
  'a part of the headers': HEAD,
  'a part of the body': HEAD + b'Content-Length: 1000\r\n\r\n{',
  'a part of a chunk': HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{',
  'a whole request': b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
  # Its answers are not read.
  'requests': 20 * b'GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
}


def served():
  return testing.serving(testing.KinematicDriver())


@contextlib.contextmanager
def crowd(url, sends=b'', count=COUNT, addresses=1):
  """Opens connections of addresses 127.0.0.x; yields them."""
  target = ('127.0.0.1', parse.urlsplit(url).port)
  with contextlib.ExitStack() as stack:
    opened = []
    for number in range(count):
      source = (f'127.0.0.{1 + number % addresses}', 0)
      connection = socket.create_connection(target, 60, source)
      stack.callback(connection.close)
      # It may be closed already, for another of its kind.
      with contextlib.suppress(OSError):
        connection.sendall(sends)
      opened.append(connection)
    yield opened


def connect(url):
  address = parse.urlsplit(url).netloc
  return http.client.HTTPConnection(address, timeout=60)


def ask(connection, path, body=None):
  connection.request('POST', path, body and json.dumps(body), JSON)
  response = connection.getresponse()
  response.read()
  return response.status


@pytest.mark.parametrize(
  'kind, addresses',
  [
    *((kind, 1) for kind in SENDS),
    ('nothing', 10),
    ('nothing', 250),
    ('a part of the headers', 250),
  ],
)
def test_a_crowd_of_connections_keeps_no_hold_waiting(kind, addresses):
  count = COUNT if kind != 'requests' else COUNT // 20
  with served() as url, crowd(url, SENDS[kind], count, addresses):
    for _ in range(3):
      with contextlib.closing(connect(url)) as connection:
        began = time.monotonic()
        assert ask(connection, '/hold') == 200
        # On an idle machine 1,000 times less.
        assert time.monotonic() - began < 30
        # What is no hold may wait behind what the crowd asks.
        deadline = time.monotonic() + 60
        while ask(connection, '/release') == 409:
          assert time.monotonic() < deadline


@pytest.mark.parametrize('kind', ['nothing', 'a whole request'])
def test_a_crowd_does_not_cost_a_client_its_connection(kind):
  with served() as url, contextlib.closing(connect(url)) as leader:
    for _ in range(2 * serving._REGULAR):
      ask(leader, '/getstate')
    before = leader.sock
    for _ in range(5):
      with crowd(url, SENDS[kind], count=COUNT // 5):
        assert ask(leader, '/getstate') == 200
        assert leader.sock is before


def serve_for_a_moment(monkeypatch):
  """Has connections closed sooner."""
  for name in ('_GREETING_S', '_REQUEST_S'):
    monkeypatch.setattr(serving, name, 0.2)
  monkeypatch.setattr(serving, '_SWEEP_S', 0.05)


def test_a_connection_of_use_is_kept_before_others():
  class Channel(serving._Channel):
    def __init__(self, answered, age, *paths):
      self.answered, self.since = answered, time.monotonic() - age
      self.requests = [types.SimpleNamespace(path=path) for path in paths]

  ordered = [
    silent := Channel(0, 2.0),
    Channel(0, 1.0),
    Channel(1, 2.0),
    Channel(50, 30.0),
    Channel(90, 20.0),
    Channel(0, 1.0, '/getq'),
    Channel(1, 0.02),
    Channel(0, 0.01),  # what it asks is not read yet
    Channel(50, 9.0, '/pose'),  # a client that leads the arm
    Channel(50, 2.0),  # one between two episodes
    Channel(0, 1.0, '/hold'),
  ]
  assert sorted(reversed(ordered), key=Channel.use) == ordered
  silent.requests = [object()]  # one that makes no sense
  assert not silent.asks_hold()


@pytest.mark.parametrize('kind', sorted(set(SENDS) - {'a whole request'}))
def test_a_connection_that_is_silent_or_slow_is_closed(monkeypatch, kind):
  serve_for_a_moment(monkeypatch)
  with served() as url, crowd(url, SENDS[kind], count=1) as (connection,):
    if kind == 'requests':
      # It reads no answer for a while.
      time.sleep(0.5)
    deadline = time.monotonic() + 60
    with contextlib.suppress(ConnectionResetError):
      while connection.recv(1 << 16):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
  'start, drop',
  [
    (b'', b'\r\n'),
    (b'', b'x'),
    (HEAD, b'X-A: b\r\n'),
    (HEAD + b'Content-Length: 10000\r\n\r\n', b' '),
    (HEAD + b'Transfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'),
    (HEAD + b'Content-Length: 10000\r\nExpect: 100-continue\r\n\r\n', b' '),
  ],
)
def test_a_request_that_comes_in_drops_is_cut_off(monkeypatch, start, drop):
  serve_for_a_moment(monkeypatch)
  with served() as url, crowd(url, start, count=1) as (connection,):
    deadline = time.monotonic() + 60
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
      while time.monotonic() < deadline:
        connection.sendall(drop)
        time.sleep(0.02)


def test_a_client_that_pauses_keeps_its_connection(monkeypatch):
  serve_for_a_moment(monkeypatch)
  with served() as url, contextlib.closing(connect(url)) as connection:
    ask(connection, '/getstate')
    before = connection.sock
    time.sleep(1.0)
    assert ask(connection, '/getstate') == 200
    assert connection.sock is before


class Connection:
  def __init__(self, address, use):
    self.addr, self._use = (address, 1), use

  def use(self):
    return self._use


def test_those_go_that_are_of_least_use(monkeypatch):
  monkeypatch.setattr(serving, '_PER_ADDRESS', 3)
  monkeypatch.setattr(serving, '_CONNECTIONS', 5)
  monkeypatch.setattr(serving._Channel, 'use', Connection.use)
  silent, old = Connection('a', (0, 0, 9)), Connection('a', (0, 1, 1))
  new, busy = Connection('a', (0, 1, 2)), Connection('a', (1, 0, 0))
  assert serving._superfluous([busy, new, old]) == []
  assert serving._superfluous([busy, new, silent, old]) == [silent]
  others = [Connection('b', (0, 0, 5)), Connection('c', (0, 0, 5))]
  assert serving._superfluous([busy, new, old, *others]) == []
  # The address that has the most gives one up.
  more = [*others, Connection('d', (0, 0, 5))]
  assert serving._superfluous([busy, new, old, *more]) == [old]
  # Of many that have one each, the oldest that has asked nothing.
  each = [Connection(str(n), (0, 1, n)) for n in range(5)]
  lone = Connection('z', (0, 0, 7))
  assert serving._superfluous([*each, lone]) == [lone]
