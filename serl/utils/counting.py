"""Counts of steps and episodes, shared by the threads of a process."""

from collections.abc import Mapping
import threading


class Counter:
  """Named counts that only grow; safe to use from several threads."""

  def __init__(self):
    self._lock = threading.Lock()
    self._counts: dict[str, float] = {}

  def increment(self, **amounts: float) -> dict[str, float]:
    """Adds `amounts` to the counts of these names and returns all counts."""
    with self._lock:
      for name, amount in amounts.items():
        self._counts[name] = self._counts.get(name, 0) + amount
      return dict(self._counts)

  def get(self, name: str) -> float:
    """Returns the count of `name`, 0 if it was never counted."""
    with self._lock:
      return self._counts.get(name, 0)

  def save(self) -> dict[str, float]:
    """Returns all counts, to be given to `restore`."""
    with self._lock:
      return dict(self._counts)

  def restore(self, counts: Mapping[str, float]) -> None:
    """Replaces all counts by `counts`."""
    with self._lock:
      self._counts = dict(counts)
