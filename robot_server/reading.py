"""Reads a driver that may hang, for callers that must not."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, NamedTuple

from robot_server import protocol

# A thread that nobody has needed for so long ends, s.
_IDLE_S = 5.0


class _Outcome(NamedTuple):
  value: Any
  error: BaseException | None


class Reader:
  """Calls a function in a thread of its own, for callers in many threads.

  While the function hangs, that one thread waits for it and no other.
  """

  def __init__(self, read: Callable[[], Any], patience: float):
    """Initialises the reader; its thread starts when it is needed.

    Args:
      read: takes no arguments.
      patience: the longest that a caller waits, s of real time.
    """
    self._read = read
    self._patience = patience
    self._condition = threading.Condition()
    self._thread: threading.Thread | None = None
    self._wanted = 0  # the number of the last call that somebody waits for
    self._begun = 0
    self._done = 0
    self._since = 0.0  # when the last one began, s
    self._outcome = _Outcome(None, None)

  def __call__(self) -> Any:
    """Returns what the function returns, of a call that begins after this one.

    Raises:
      DriverError: the function takes longer than the patience.
      Exception: what the function raised.
    """
    with self._condition:
      number = self._begun + 1
      hangs = self._in_progress() > self._patience
      if not hangs:
        self._wanted = number
        if self._thread is None:
          self._thread = threading.Thread(
            target=self._run, name='reader', daemon=True
          )
          self._thread.start()
        self._condition.notify_all()
        hangs = not self._condition.wait_for(
          lambda: self._done >= number, self._patience
        )
      if hangs:
        waited = max(self._in_progress(), self._patience)
        raise protocol.DriverError(
          f"the arm's driver has not answered for {waited:.1f} s"
        )
      value, error = self._outcome
    if error is not None:
      raise error
    return value

  def _in_progress(self) -> float:
    """Returns how long the present call has taken so far, s; 0 without one."""
    return time.monotonic() - self._since if self._begun > self._done else 0.0

  def _run(self) -> None:
    while True:
      with self._condition:
        if not self._condition.wait_for(
          lambda: self._wanted > self._begun, _IDLE_S
        ):
          self._thread = None
          return
        self._begun += 1
        self._since = time.monotonic()
      try:
        outcome = _Outcome(self._read(), None)
      except BaseException as error:  # noqa: BLE001
        # Whatever it is, it is the callers'.
        outcome = _Outcome(None, error)
      with self._condition:
        self._outcome = outcome
        self._done = self._begun
        self._condition.notify_all()
