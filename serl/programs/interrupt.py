"""A Ctrl-C that is heard between two steps of a run, and not within one."""

import os
import signal
import threading
from types import FrameType


class Interrupt:
  """A context that notes a Ctrl-C; a second one is raised as ever.

  Raised amid an update it would leave a state whose memory was given away
  already, and nothing to checkpoint. Outside of the main thread it hears none.
  """

  def __init__(self):
    """Initialises the context; nothing is heard before it is entered."""
    self._heard = False
    self._before = None

  def __enter__(self) -> 'Interrupt':
    if threading.current_thread() is threading.main_thread():
      self._before = signal.signal(signal.SIGINT, self._note)
    return self

  def __exit__(self, *_) -> None:
    if self._before is not None:
      signal.signal(signal.SIGINT, self._before)

  def heard(self) -> bool:
    """Returns whether the user wants to stop."""
    return self._heard

  def _note(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    self._heard = True
    # Past Python's buffers, which this may have interrupted.
    os.write(2, b'Stopping; a second Ctrl-C ends it at once.\n')
    signal.signal(signal.SIGINT, signal.default_int_handler)
