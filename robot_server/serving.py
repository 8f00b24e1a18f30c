"""waitress, for an arm: no client keeps another's hold waiting.

A request knows when it had come and by which connection. Between its arrival
and its execution lies the wait for a thread: behind a driver that hangs it can
take long, and nobody means a command any more that waited so.

A connection costs its client nothing, and many of them are what a program
without an end leaves behind, or what an attack opens. So connections are closed
that are silent or slow, and the oldest of these where there are too many; a new
one is always accepted. Holds have threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import logging
import socket
import sys
import time
from typing import Any

import flask
from waitress import adjustments
from waitress import channel
from waitress import parser
from waitress import task
from waitress import wasyncore
import waitress.server

_log = logging.getLogger(__name__)

# In the environment of a request: when it had come in full, s, and its
# connection, see `lease.Client`.
ARRIVAL = 'robot_server.arrival'
CONNECTION = 'robot_server.connection'

_THREADS = 8
_HOLD_THREADS = 2
_HOLD = '/hold'
# Requests that are read from a connection while one of its own is executed. A
# client that has hung up is noticed by that, and what it has asked is dropped.
_LOOKAHEAD = 16
_MAX_HEADER = 16 * 1024  # bytes
# Connections: of one address, and of all.
_PER_ADDRESS = 64
_CONNECTIONS = 256
_REGULAR = 10  # requests, after which a client is none that came by
# Fewer than those, or what a connection asks might not be read in time.
_ACCEPTED_AT_ONCE = 32
# Since a connection was opened, or a request answered, s: until it counts as
# silent, and until that of a regular client does.
_RECENT_S = 0.2
_PAUSE_S = 5.0
# Until a connection is closed, s: without a request, with a part of one or an
# answer that is not read, and after an answer.
_GREETING_S = 3.0
_REQUEST_S = 2.0
_IDLE_S = 60.0
_SWEEP_S = 0.5
# That a thread of the server's program may keep others waiting, s.
_SWITCH_S = 5e-4


class _Request(parser.HTTPRequestParser):
  """A request that knows when it began and when it had come."""

  def __init__(self, adj: Any, now: Callable[[], float]):
    super().__init__(adj)
    self._now = now
    self.began = time.monotonic()
    self.arrival: float | None = None  # s, on the driver's clock

  def received(self, data: bytes) -> int:
    consumed = super().received(data)
    if self.completed:
      self.arrival = self._now()
    return consumed


class _Task(task.WSGITask):
  """Passes that on to the application."""

  def get_environment(self) -> dict[str, Any]:
    return {
      **super().get_environment(),
      ARRIVAL: self.request.arrival,
      CONNECTION: self.channel,
    }


class _Channel(channel.HTTPChannel):
  """A connection."""

  task_class = _Task

  def __init__(self, *args: Any, **kwargs: Any):
    self.answered = 0  # requests
    self.since = time.monotonic()  # it was opened, or a request answered, s
    super().__init__(*args, **kwargs)
    # What has come already is read before others are accepted.
    if self._peek():
      self.handle_read()

  def parser_class(self, adj: Any) -> _Request:
    return _Request(adj, self.server.now)

  def readable(self) -> bool:
    # What is left unread would count from when it is read, however late that
    # is. No client that reads the answers has asked that much.
    if len(self.requests) > self.adj.channel_request_lookahead:
      _log.error('%s asks without reading the answers: hung up', self.addr)
      self.cancel()
    return super().readable()

  def service(self) -> None:
    if not self.requests:
      # It was hung up meanwhile.
      return
    super().service()
    self.answered += 1
    self.since = time.monotonic()

  def is_open(self) -> bool:
    """Returns whether the client has not hung up, as far as that is known.

    That may be known to the system before this server's loop has seen it.
    """
    return self.connected and self._peek() != b''

  def is_overdue(self, now: float) -> bool:
    """Returns whether the connection is to be closed, at `now`, s."""
    if self.requests:
      return False
    silent, partial = now - self.since, self.request
    if partial is not None and now - partial.began > _REQUEST_S:
      return True
    if self.total_outbufs_len:
      return silent > _REQUEST_S
    return silent > (_IDLE_S if self.answered else _GREETING_S)

  def _peek(self) -> bytes | None:
    """Returns some of what has come; b'' at the end, None without anything."""
    try:
      return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
      return None
    except OSError:
      return b''

  def asks_hold(self) -> bool:
    """Returns whether a request to hold the arm is next."""
    requests = self.requests
    # One that could not be parsed has no path.
    return bool(requests) and getattr(requests[0], 'path', '') == _HOLD

  def use(self) -> tuple[int, int, float]:
    """Returns what orders connections by how much their clients need them."""
    idle = time.monotonic() - self.since
    is_regular = self.answered >= _REGULAR and (
      self.requests or idle < _PAUSE_S
    )
    if is_regular or self.asks_hold():
      return 3, 0, self.since
    if idle < _RECENT_S and not self.requests:
      # What a new one asks may not have been read yet.
      return 2, 0, self.since
    return int(bool(self.requests)), min(self.answered, _REGULAR), self.since


class _Listener(waitress.server.TcpWSGIServer):
  """Listens at one address."""

  channel_class = _Channel

  def __init__(self, *args: Any, now: Callable[[], float], **kwargs: Any):
    self.now = now
    self._next_sweep = 0.0
    super().__init__(*args, **kwargs)

  def readable(self) -> bool:
    now = time.monotonic()
    if now >= self._next_sweep:
      self._next_sweep = now + _SWEEP_S
      _close([c for c in self._channels() if c.is_overdue(now)])
    return self.accepting

  def handle_accept(self) -> None:
    # Many that wait: one of the last may be the one that is to hold the arm.
    for _ in range(_ACCEPTED_AT_ONCE):
      before = len(self._map)
      super().handle_accept()
      if len(self._map) == before:
        break
    _close(_superfluous(self._channels()))

  def _channels(self) -> list[_Channel]:
    return [part for part in self._map.values() if isinstance(part, _Channel)]


class _Dispatcher(task.ThreadedTaskDispatcher):
  """Executes requests in threads, of which some are kept for holds."""

  def __init__(self):
    super().__init__()
    self._holding = task.ThreadedTaskDispatcher()
    self.set_thread_count(_THREADS)
    self._holding.set_thread_count(_HOLD_THREADS)

  def add_task(self, task: _Channel) -> None:
    if task.asks_hold():
      self._holding.add_task(task)
    else:
      super().add_task(task)

  def shutdown(self, *args: Any, **kwargs: Any) -> bool:
    self._holding.shutdown(*args, **kwargs)
    return super().shutdown(*args, **kwargs)


class Server:
  """Serves an application; `port` is where."""

  def __init__(
    self, app: flask.Flask, now: Callable[[], float], host: str, port: int
  ):
    """Listens; requests are answered while `run` or `poll` are called.

    Args:
      app: of `app.make_app`.
      now: the clock that stamps the arrivals, the driver's.
      host: the address to serve at.
      port: likewise; 0 takes a free one.
    """
    settings = adjustments.Adjustments(
      host=host,
      port=port,
      channel_request_lookahead=_LOOKAHEAD,
      # By default so from waitress 3 on: an address is what the system says.
      clear_untrusted_proxy_headers=True,
      max_request_header_size=_MAX_HEADER,
      # Flask refuses larger ones in JSON; this bounds what is read at all.
      max_request_body_size=4 * app.config['MAX_CONTENT_LENGTH'],
      ident=None,
    )
    self._sockets: dict[int, Any] = {}
    self._dispatcher = _Dispatcher()
    # One for each address of the host.
    listeners = [
      _Listener(
        app,
        self._sockets,
        dispatcher=self._dispatcher,
        adj=settings,
        sockinfo=address,
        now=now,
      )
      for address in settings.listen
    ]
    self.port = int(listeners[0].effective_port)

  def run(self) -> None:
    """Serves until a signal ends the program, which it takes to be its own."""
    # Else, while many requests are executed, what comes meanwhile is read late.
    sys.setswitchinterval(_SWITCH_S)
    try:
      while True:
        self.poll(_SWEEP_S)
    except (SystemExit, KeyboardInterrupt):
      self.close()

  def poll(self, timeout: float) -> None:
    """Answers what comes within a time, s; returns when anything has come."""
    # select() would end the server at a file descriptor beyond 1023.
    wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)

  def close(self) -> None:
    """Ends the threads and closes all connections, kept-alive ones too."""
    self._dispatcher.shutdown()
    wasyncore.close_all(self._sockets)


def _superfluous(channels: list[_Channel]) -> list[_Channel]:
  """Returns the connections to close so that there are not too many.

  Each address keeps those that are of most use. Where all together are too
  many, the address with the most gives up the next.
  """
  if len(channels) <= _PER_ADDRESS:
    return []
  groups: dict[str, list[_Channel]] = {}
  for each in sorted(channels, key=_Channel.use):
    groups.setdefault(each.addr[0], []).append(each)
  superfluous = []
  for group in groups.values():
    superfluous += group[:-_PER_ADDRESS]
    del group[:-_PER_ADDRESS]
  kept = [group for group in groups.values() if group]
  for _ in range(sum(map(len, kept)) - _CONNECTIONS):
    # Among equals the one with the connection of least use.
    largest = min(kept, key=lambda group: (-len(group), group[0].use()))
    superfluous.append(largest.pop(0))
    kept = [group for group in kept if group]
  return superfluous


def _close(channels: Iterable[_Channel]) -> None:
  for each in channels:
    _log.info('a connection of %s is closed: silent or slow', each.addr[0])
    each.handle_close()
