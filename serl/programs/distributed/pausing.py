"""Holds an actor up between episodes while its learner is far behind."""

from collections.abc import Callable
import time

from absl import logging

from serl.programs import ratio
from serl.programs.distributed import service

# For one more round. A learner may itself wait for steps, as by a rate limiter
# of a table; then the actor goes on, an episode at a time.
_PATIENCE_S = 60.0


class Pause:
  """Decides, before each episode, whether the actor waits for the learner."""

  def __init__(
    self, num_actors: int, now: Callable[[], float] = time.monotonic
  ):
    """Initialises the pause.

    Args:
      num_actors: of the run, each of which waits by itself.
      now: returns the time, s.
    """
    self._num_actors = num_actors
    self._now = now
    self._longest = 0
    self._rounds = -1
    self._since = 0.0  # when the learner reached `_rounds`

  def note_episode(self, steps: int) -> None:
    """Notes the length of an episode that has ended."""
    self._longest = max(self._longest, steps)

  def is_due(self, progress: service.Progress, unsent_steps: int) -> bool:
    """Returns whether the actor is to wait now.

    Args:
      progress: of the learner.
      unsent_steps: that the actor has taken and `progress` does not count.
    """
    slack = self._num_actors * ratio.slack(self._longest)
    overdue = progress.overdue
    if overdue is None or overdue + unsent_steps <= slack:
      return False
    now = self._now()
    if progress.learner_steps != self._rounds:
      self._rounds, self._since = progress.learner_steps, now
    if now - self._since < _PATIENCE_S:
      return True
    logging.warning(
      'The learner has done no round for %.0f s: one more episode is run.',
      now - self._since,
    )
    self._since = now
    return False
