"""A program that the server starts and ends."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import logging
import os
import signal
import subprocess
import threading

_log = logging.getLogger(__name__)

_KEPT_LINES = 30


class Process:
  """A running program whose last lines are kept."""

  def __init__(self, command: Sequence[str]):
    """Starts the program.

    Args:
      command: its name and its arguments; no shell sees them.

    Raises:
      OSError: it cannot be started.
    """
    self._command = list(command)
    # In a session of its own: a Ctrl-C in the server's terminal is the
    # server's, which ends its programs in order.
    self._process = subprocess.Popen(
      self._command,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors='replace',
      start_new_session=True,
    )
    self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
    self._ending = threading.Lock()
    self._told_to_end = False
    # A pipe that nobody reads stops the program when it is full.
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  @property
  def pid(self) -> int:
    """The program's process."""
    return self._process.pid

  def is_alive(self) -> bool:
    """Tells whether the program runs."""
    return self._process.poll() is None

  def describe(self) -> str:
    """Returns the program, how it ended and its last lines."""
    code = self._process.poll()
    if code is not None:
      self._reader.join(1)
    end = 'is running' if code is None else f'ended with code {code}'
    return '\n'.join([f'{" ".join(self._command)} {end}', *self._lines])

  def stop(self, timeout: float) -> None:
    """Ends the program and what it has started.

    Args:
      timeout: seconds until it is killed.
    """
    with self._ending:
      # Once: roslaunch hangs when it is told to end while it ends its nodes.
      if not self._told_to_end:
        self._process.terminate()
      self._told_to_end = True
    try:
      self._process.wait(timeout)
    except subprocess.TimeoutExpired:
      _log.error('%s does not end and is killed', self._command[0])
      os.killpg(self._process.pid, signal.SIGKILL)
      self._process.wait()

  def _read(self) -> None:
    for line in self._process.stdout or ():
      self._lines.append(line.rstrip())
      _log.debug('%s: %s', self._command[0], line.rstrip())
