"""How long a launch may take."""

from collections.abc import Callable
import time

from serl.programs import config as config_lib

NO_UPDATE = 'no update'  # how the reason begins where nothing was learned


class TimeLimit:
  """The limit of a launch, which counts from the first update of its learner.

  What comes before, as building networks, compiling and the first steps, has a
  limit of its own, so that a launch that never learns ends too.
  """

  def __init__(
    self,
    config: config_lib.RunConfig,
    more_to_start_s: float = 0.0,
    now: Callable[[], float] = time.monotonic,
  ):
    """Initialises the limit; the launch begins now.

    Args:
      config: of the run.
      more_to_start_s: for a node that should wait longer for the first update
        than the learner does, which has more to tell.
      now: returns the time, s.
    """
    self._limit_s = config.time_limit_s
    self._now = now
    self._launched = now()
    self._first: float | None = None
    if self._limit_s is not None:
      self._start_s = max(config.start_limit_s, self._limit_s) + more_to_start_s

  def note_update(self) -> None:
    """Notes that the learner has made an update."""
    if self._first is None:
      self._first = self._now()

  def reached(self) -> str:
    """Returns which limit is reached, nothing if none is."""
    if self._limit_s is None:
      return ''
    if self._first is not None:
      over = self._now() - self._first >= self._limit_s
      return f'the limit of {self._limit_s / 60:g} min' if over else ''
    over = self._now() - self._launched >= self._start_s
    return f'{NO_UPDATE} within {self._start_s / 60:g} min' if over else ''
