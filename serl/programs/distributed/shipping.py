"""Brings an actor's logged episodes into the replay, whatever happens."""

import threading
import time

from absl import logging

from serl.demos import log as log_lib
from serl.programs import training as training_lib
from serl.programs.distributed import rpc
from serl.programs.distributed import service

_RETRY_S = 1.0


class Shipper:
  """Sends the episodes of a log in order, in a thread of its own.

  It always asks which is wanted and sends that, or the next one of use. So a
  fresh replay gets all that it can hold, one that was out of reach gets what it
  missed, what is damaged is passed over, and the robot never waits for either.
  """

  def __init__(
    self,
    log: log_lib.EpisodeLog,
    learner: service.Learner,
    actor: str,
    capacity: int,
  ):
    """Initialises the shipper; `start` starts it.

    Args:
      log: of the actor; it grows while the shipper runs.
      learner: puts the episodes into its replay, each once.
      actor: whose log it is.
      capacity: steps that the replay keeps of it; older ones are not sent.
    """
    self._log = log
    self._learner = learner
    self._actor = actor
    self._capacity = capacity
    self._grown = threading.Event()
    self._stopped = False
    self._lost_since: float | None = time.time()
    self._failure: Exception | None = None
    self._thread = threading.Thread(target=self._run, daemon=True)

  def start(self) -> None:
    """Begins to send."""
    self._thread.start()

  def notify(self) -> None:
    """Says that the log has grown."""
    self._grown.set()

  @property
  def lost_since(self) -> float | None:
    """The unix time since when the replay is out of reach; None if it is not.

    Before the first contact it is the time at which the shipper was made.
    """
    return self._lost_since

  @property
  def failure(self) -> Exception | None:
    """Why the learner takes no more episodes; None while it does."""
    return self._failure

  def close(self, timeout_s: float) -> None:
    """Stops after the episode under way, or after `timeout_s`."""
    self._stopped = True
    self._grown.set()
    self._thread.join(timeout_s)

  def _run(self) -> None:
    while not self._stopped:
      self._grown.clear()
      try:
        self._send_all()
      except rpc.CallError as error:
        if self._lost_since is None:
          self._lost_since = time.time()
          logging.warning('Lost the learner: %s', error)
        time.sleep(_RETRY_S)
        continue
      except Exception as error:  # noqa: BLE001 (the actor raises it)
        # Sent again it would be refused again.
        logging.exception('Episodes can no longer be sent.')
        self._failure = error
        return
      self._grown.wait(_RETRY_S)

  def _send_all(self) -> None:
    wanted = self._learner.inserted_episodes(self._actor)
    if self._lost_since is not None:
      self._lost_since = None
      logging.info(
        'Connected: %d of %d episodes are not in the replay.',
        self._log.count_from(wanted),
        len(self._log),
      )
    first_recent = self._log.first_within(self._capacity)
    while not self._stopped:
      number = training_lib.next_of_use(self._log, wanted, first_recent)
      if number is None:
        return
      if number > wanted:
        steps = self._log.steps_between(wanted, number)
        wanted = self._learner.pass_over(self._actor, wanted, number, steps)
        continue
      episode = self._log.read(number)
      # One that is damaged is no longer in the log.
      if episode is not None:
        wanted = self._learner.insert_episode(self._actor, number, episode)
