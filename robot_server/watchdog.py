"""Looks after the arm from a thread of its own, whatever the clients do."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import logging
import threading

from robot_server import governor as governor_lib
from robot_server import protocol

_log = logging.getLogger(__name__)

# How often it looks within the life of a command.
LOOKS = 8


class Watchdog:
  """Has the governor check the arm, every `period` seconds."""

  def __init__(
    self,
    governor: governor_lib.Governor,
    beat: Callable[[], None] | None = None,
  ):
    """Starts to watch.

    Args:
      governor: of the arm.
      beat: tells whoever watches this thread that it has looked.
    """
    self.period = governor.limits.command_ttl / LOOKS
    self._governor = governor
    self._beat = beat or (lambda: None)
    self._stop = threading.Event()
    self._thread = threading.Thread(
      target=self._watch, name='watchdog', daemon=True
    )
    self._thread.start()

  def close(self) -> None:
    """Ends the thread."""
    self._stop.set()
    self._thread.join()

  def _watch(self) -> None:
    while not self._stop.wait(self.period):
      try:
        with contextlib.suppress(protocol.DriverError):
          # The governor has noted it; the next look tries again.
          self._governor.check()
        self._beat()
      except protocol.DriverError as error:
        self._governor.note(f'{error.kind}: {error}')
      except Exception:  # noqa: BLE001
        # Whatever it is: an arm without a watchdog would be worse.
        _log.exception('the watchdog failed')
