"""The record of what was asked of the arm and what was done about it."""

from __future__ import annotations

import collections
import json
import logging
from logging import handlers
import os
import time
from typing import Any

_BYTES = 10_000_000
_FILES = 5
_KEPT = 20


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
