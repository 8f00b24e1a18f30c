"""A terminal's keys, and the arm driven by them."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import os
import re
import select
import sys
import termios
import time
import tty
from typing import TextIO

import numpy as np

from serl.teleop import devices

# Axis of the motion and direction along it.
_AXES = {
  'w': (0, 1),
  's': (0, -1),
  'a': (1, 1),
  'd': (1, -1),
  'r': (2, 1),
  'f': (2, -1),
  'u': (3, 1),
  'o': (3, -1),
  'i': (4, 1),
  'k': (4, -1),
  'j': (5, 1),
  'l': (5, -1),
}
_CLOSE, _OPEN = 'c', 'v'

HELP = (
  'w/s: along x of the base, out and in   a/d: y   r/f: z, up and down\n'
  'u/o, i/k, j/l: turn about x, y, z   c/v: close and open the gripper'
)

# A terminal tells no releases: a key is down while it repeats. It does so after
# at most _DELAY_S, then at least every _REPEAT_S.
_DELAY_S = 0.7
_REPEAT_S = 0.12
# Arrow and function keys, of which letters would be left.
_ESCAPES = re.compile(r'\x1b(\[[0-9;]*[A-Za-z~]|O.|)')


@dataclasses.dataclass
class _Key:
  unseen: bool = False  # not asked for since it was pressed
  presses: int = 0  # in a row, without a gap of _DELAY_S
  latest: float = -np.inf  # s


class Keyboard:
  """Reads the keys of a terminal, without Enter and without waiting.

  A context: the terminal is as before when it has ended. Ctrl-C goes on to
  interrupt. Upper and lower case are one key.
  """

  def __init__(
    self,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Initialises the keyboard; reading begins with the context.

    Args:
      stream: a terminal; by default standard input.
      clock: returns the time, s.
    """
    self._stream = sys.stdin if stream is None else stream
    self._clock = clock
    self._keys: dict[str, _Key] = {}
    self._saved: list | None = None

  def __enter__(self) -> 'Keyboard':
    """Takes over the terminal.

    Raises:
      devices.DeviceError: the stream is none, or runs in the background.
    """
    if not is_terminal(self._stream):
      raise devices.DeviceError(
        f'{getattr(self._stream, "name", self._stream)} is no terminal that '
        'keys could come from; run in the foreground of one.'
      )
    self._saved = termios.tcgetattr(self._stream)
    tty.setcbreak(self._stream)
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Gives the terminal back as it was, if it was taken over."""
    if self._saved is not None:
      # One that is gone has nothing to be given back.
      with contextlib.suppress(termios.error):
        termios.tcsetattr(self._stream, termios.TCSADRAIN, self._saved)
      self._saved = None

  def pressed(self, key: str) -> bool:
    """Returns whether `key` was pressed since this was last asked."""
    self._poll()
    state = self._keys.get(key, _Key())
    unseen, state.unseen = state.unseen, False
    return unseen

  def held(self, key: str, tap_s: float = _REPEAT_S) -> bool:
    """Returns whether `key` is down.

    Args:
      key: a character.
      tap_s: how long a single press counts, s. Below the time that terminals
        need until they repeat, 0.25 to 0.7 s, a key that stays down is not
        held in between.
    """
    self._poll()
    state = self._keys.get(key, _Key())
    limit = tap_s if state.presses == 1 else _REPEAT_S
    return self._clock() - state.latest <= limit

  def read(self) -> devices.Command:
    """Returns what the keys that are down ask for; see `HELP`.

    Raises:
      devices.DeviceError: the terminal is gone.
    """
    motion = np.zeros(6, np.float32)
    for key, (axis, direction) in _AXES.items():
      motion[axis] += direction * self.held(key)
    return devices.Command(motion, self.held(_CLOSE) - self.held(_OPEN))

  def _poll(self) -> None:
    descriptor = self._stream.fileno()
    while select.select([descriptor], [], [], 0)[0]:
      try:
        typed = os.read(descriptor, 1024)
      except OSError:
        typed = b''
      if not typed:
        raise devices.DeviceError(
          'The terminal that the keys came from is gone; start again in '
          'another one.'
        )
      now = self._clock()
      for key in _ESCAPES.sub('', typed.decode(errors='ignore')).lower():
        state = self._keys.setdefault(key, _Key())
        if now - state.latest > _DELAY_S:
          state.presses = 0
        state.presses += 1
        state.latest = now
        state.unseen = True


@contextlib.contextmanager
def keeping_terminal(stream: TextIO | None = None) -> Iterator[None]:
  """Gives the terminal back as it was, whoever has changed it meanwhile.

  A process that was killed while it read the keys could not do so itself.

  Args:
    stream: that may be a terminal; by default standard input.
  """
  give_back = remember_terminal(stream)
  try:
    yield
  finally:
    give_back()


def remember_terminal(stream: TextIO | None = None) -> Callable[[], None]:
  """Returns a function that gives the terminal back as it is now.

  Args:
    stream: see `keeping_terminal`.
  """
  stream = sys.stdin if stream is None else stream
  if not is_terminal(stream):
    return lambda: None
  saved = termios.tcgetattr(stream)

  def give_back() -> None:
    if is_terminal(stream):
      termios.tcsetattr(stream, termios.TCSADRAIN, saved)

  return give_back


def is_terminal(stream: TextIO | None) -> bool:
  """Returns whether keys typed in a terminal come from `stream`.

  Args:
    stream: None is what sys.stdin is where it was closed.
  """
  if stream is None or not stream.isatty():
    return False
  try:
    # A background process that read, or changed, its terminal would be stopped.
    return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
  except OSError:
    return True  # not our controlling terminal, so not in our way either
