"""How the other nodes hear from a learner that its run is over."""

import threading
from typing import Any

_ASK_S = 0.2  # from one answer to the next question


class Farewell:
  """Asks a learner, in a thread of its own, whether its run is over.

  Whoever acts or evaluates never waits for a learner that does not answer.
  """

  def __init__(self, learner: Any, caller: str):
    """Starts to ask.

    Args:
      learner: the run's, whose `over` is called.
      caller: the node that asks.
    """
    self._learner = learner
    self._caller = caller
    self._heard = threading.Event()
    self._closed = threading.Event()
    threading.Thread(target=self._ask, daemon=True).start()

  @property
  def heard(self) -> bool:
    """Whether the learner has said that the run is over."""
    return self._heard.is_set()

  def close(self) -> None:
    """Asks no more."""
    self._closed.set()

  def _ask(self) -> None:
    while not self._closed.is_set():
      try:
        if self._learner.over(self._caller):
          self._heard.set()
          return
      # Courier raises its own errors. That contact is lost is said by those
      # who fetch parameters and send episodes; this asks until it is back.
      except Exception:  # noqa: BLE001
        pass
      self._closed.wait(_ASK_S)
