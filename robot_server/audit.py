"""The record of what was asked of the arm and what was done about it."""

from __future__ import annotations

import collections
import json
import logging
from logging import handlers
import os
import time
from typing import Any, Callable

_log = logging.getLogger(__name__)

_BYTES = 10_000_000
_FILES = 5
_KEPT = 20
# An error that goes on is recorded again after, s.
_REPEAT_S = 5.0


class AuditLog:
  """Appends events to a file of JSON lines that is rotated and bounded.

  Keeps the last ones in memory for the status page. May be called from several
  threads.
  """

  def __init__(self, path: str | os.PathLike | None = None):
    """Opens the log.

    Args:
      path: of the file; None keeps the events in memory only.
    """
    self._handler: logging.Handler | None = None
    if path is not None:
      self._handler = handlers.RotatingFileHandler(
        path, maxBytes=_BYTES, backupCount=_FILES, encoding='utf-8'
      )
    self._last: collections.deque[dict[str, Any]] = collections.deque(
      maxlen=_KEPT
    )

  def record(self, event: str, **fields: Any) -> None:
    """Records an event with plain data; adds 'time', Unix seconds."""
    entry = {'time': round(time.time(), 3), 'event': event, **fields}
    self._last.append(entry)
    if self._handler is not None:
      line = json.dumps(entry)
      self._handler.handle(
        logging.makeLogRecord({'msg': line, 'levelno': logging.INFO})
      )

  def last(self) -> list[dict[str, Any]]:
    """Returns the last events, the newest first."""
    return list(reversed(list(self._last)))

  def close(self) -> None:
    """Closes the file."""
    if self._handler is not None:
      self._handler.close()


class ErrorLog:
  """Keeps the last error for the status, and records a new one."""

  def __init__(self, now: Callable[[], float], audit: AuditLog):
    """Initialises the log; there is no error.

    Args:
      now: the driver's clock, s.
      audit: gets the errors.
    """
    self.last = ''
    self._now = now
    self._audit = audit
    self._noted = float('-inf')  # when it was recorded, s

  def note(self, error: str) -> None:
    """Keeps an error; the same one that goes on is recorded now and then."""
    now = self._now()
    if error != self.last or now - self._noted > _REPEAT_S:
      _log.error('%s', error)
      self._audit.record('error', error=error)
      self._noted = now
    self.last = error
