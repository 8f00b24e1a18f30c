"""A wish to stop that is noted between two steps of a run, not within one."""

import os
import signal
import threading
from types import FrameType

# Ctrl-C, kill, Ctrl-\\, and a terminal that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


def heard() -> list[signal.Signals]:
  """Returns those of `SIGNALS` that end a run: without nohup, all."""
  is_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  return [n for n in SIGNALS if not (is_nohup and n == signal.SIGHUP)]


class Interrupt:
  """A context that notes the first of `SIGNALS`; a second one acts as ever.

  Raised amid an update it would leave a state whose memory was given away
  already, and nothing to checkpoint. Outside of the main thread it notes none.
  """

  def __init__(self):
    """Initialises the context; nothing is noted before it is entered."""
    self._heard = False
    self._before = {}

  def __enter__(self) -> 'Interrupt':
    if threading.current_thread() is threading.main_thread():
      for number in heard():
        self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_) -> None:
    self._restore()

  def heard(self) -> bool:
    """Returns whether the user wants to stop."""
    return self._heard

  def _note(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    self._heard = True
    # Past Python's buffers, which this may have interrupted.
    os.write(2, b'Stopping; a second Ctrl-C ends it at once.\n')
    self._restore()

  def _restore(self) -> None:
    while self._before:
      signal.signal(*self._before.popitem())
