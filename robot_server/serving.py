"""waitress, which tells the application when a request had come.

Between that and its execution lies the wait for a thread. Behind a driver that
hangs it can take long, and nobody means a command any more that waited so.
"""

from __future__ import annotations

from collections.abc import Callable
import logging
from typing import Any

import flask
from waitress import channel
from waitress import parser
from waitress import task
import waitress.server

_log = logging.getLogger(__name__)

# In the environment of a request: when it had come in full, s.
ARRIVAL = 'robot_server.arrival'

_THREADS = 8
# Requests that are read from a connection while one of its own is executed. A
# client that has hung up is noticed by that, and what it has asked is dropped.
_LOOKAHEAD = 16


class _Request(parser.HTTPRequestParser):
  """A request that knows when it had come."""

  def __init__(self, adjustments: Any, now: Callable[[], float]):
    super().__init__(adjustments)
    self._now = now
    self.arrival: float | None = None  # s

  def received(self, data: bytes) -> int:
    consumed = super().received(data)
    if self.completed:
      self.arrival = self._now()
    return consumed


class _Task(task.WSGITask):
  """Tells it to the application."""

  def get_environment(self) -> dict[str, Any]:
    return {**super().get_environment(), ARRIVAL: self.request.arrival}


class _Channel(channel.HTTPChannel):
  task_class = _Task

  def parser_class(self, adjustments: Any) -> _Request:
    return _Request(adjustments, self.server.now)

  def readable(self) -> bool:
    # What is left unread would count from when it is read, however late that
    # is. Nobody who reads the answers has asked that much.
    if len(self.requests) > self.adj.channel_request_lookahead:
      _log.error('%s asks without reading the answers: hung up', self.addr)
      self.cancel()
    return super().readable()


def make_server(
  app: flask.Flask,
  now: Callable[[], float],
  host: str,
  port: int,
  sockets: dict[int, Any] | None = None,
) -> Any:
  """Returns waitress's server of the application; `run` serves.

  Args:
    app: of `app.make_app`.
    now: the clock that stamps the arrivals, the driver's.
    host: the address to serve at.
    port: likewise; 0 takes a free one.
    sockets: gets what it listens on, for whoever runs the loop himself.
  """
  sockets = {} if sockets is None else sockets
  server = waitress.server.create_server(
    app,
    map=sockets,
    host=host,
    port=port,
    threads=_THREADS,
    channel_request_lookahead=_LOOKAHEAD,
    # Flask refuses larger ones in JSON; this bounds what is read at all.
    max_request_body_size=4 * app.config['MAX_CONTENT_LENGTH'],
    ident=None,
  )
  # One for each address of the host.
  for part in sockets.values():
    if isinstance(part, waitress.server.BaseWSGIServer):
      part.channel_class, part.now = _Channel, now
  return server
