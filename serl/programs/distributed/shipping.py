"""Brings an actor's logged episodes into the replay, whatever happens."""

from collections.abc import Callable
import threading
import time
from typing import Protocol

from absl import logging

from serl import types
from serl.demos import log as log_lib
from serl.replay import packing as packing_lib
from serl.replay import steps
from serl.replay import tables
from serl.replay import writing

_RETRY_S = 1.0


class Ledger(Protocol):
  """Who knows which episodes are in the replay: the learner."""

  def inserted_episodes(self, actor: str) -> int:
    """Returns how many of the actor's logged episodes are in."""

  def episode_inserted(self, actor: str, index: int) -> None:
    """Notes that episode `index` is in."""


class Shipper:
  """Sends the episodes of a log in order, in a thread of its own.

  It always asks how many are there and sends the next one. So a fresh replay
  gets the whole log, one that was out of reach gets what it missed, and the
  robot never waits for either.
  """

  def __init__(
    self,
    log: log_lib.EpisodeLog,
    insert: Callable[[types.Episode], None],
    ledger: Ledger,
    actor: str,
  ):
    """Initialises the shipper; `start` starts it.

    Args:
      log: of the actor; it grows while the shipper runs.
      insert: puts an episode into the replay, or raises.
      ledger: knows which ones are in.
      actor: whose log it is.
    """
    self._log = log
    self._insert = insert
    self._ledger = ledger
    self._actor = actor
    self._news = threading.Event()
    self._stopped = False
    self._lost_since: float | None = time.time()
    self._sent = 0
    self._thread = threading.Thread(target=self._run, daemon=True)

  def start(self) -> None:
    """Begins to send."""
    self._thread.start()

  def notify(self) -> None:
    """Says that the log has grown."""
    self._news.set()

  @property
  def lost_since(self) -> float | None:
    """The unix time since when the replay is out of reach; None if it is not.

    Before the first contact it is the time at which the shipper was made.
    """
    return self._lost_since

  @property
  def backlog(self) -> int:
    """The number of episodes that are logged and not known to be in."""
    return len(self._log) - self._sent

  def close(self, timeout_s: float) -> None:
    """Stops after the episode under way, or after `timeout_s`."""
    self._stopped = True
    self._news.set()
    self._thread.join(timeout_s)

  def _run(self) -> None:
    while not self._stopped:
      self._news.clear()
      try:
        self._send_all()
      # Courier raises its own errors for whatever fails on the other side.
      except Exception as error:  # noqa: BLE001
        if self._lost_since is None:
          self._lost_since = time.time()
          logging.warning('Lost the replay or the learner: %s', error)
        time.sleep(_RETRY_S)
        continue
      self._news.wait(_RETRY_S)

  def _send_all(self) -> None:
    while not self._stopped:
      self._sent = self._ledger.inserted_episodes(self._actor)
      if self._lost_since is not None:
        self._lost_since = None
        logging.info(
          'Connected: %d of %d episodes are in the replay.',
          self._sent,
          len(self._log),
        )
      if self._sent >= len(self._log):
        return
      self._insert(self._log.read(self._sent))
      self._ledger.episode_inserted(self._actor, self._sent)


def make_insert(
  client: tables.Client,
  packing: packing_lib.Packing,
  destinations: Callable[[types.Episode], steps.Tables],
) -> Callable[[types.Episode], None]:
  """Returns a function that inserts an episode into its `destinations`."""
  return lambda episode: writing.insert(
    client, packing, episode, destinations(episode)
  )
