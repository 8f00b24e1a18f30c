"""Asks a learner, beside all else that a node does, how its run stands."""

from collections.abc import Mapping
import threading
from typing import Any

from absl import logging

from serl.programs import run_folder
from serl.programs.distributed import rpc
from serl.programs.distributed import service

_PERIOD_S = 0.2  # from an answer to the next question


class LearnerPoller:
  """Polls a learner in a thread of its own.

  Actors and evaluators never block on a learner that does not answer.
  """

  def __init__(
    self,
    learner: service.Learner,
    address: str,
    caller: str,
    described: Mapping[str, Any],
  ):
    """Starts to poll.

    Args:
      learner: of the run.
      address: where the learner is, for messages.
      caller: the name of the node that polls.
      described: what the caller acts in and by, see `run_folder.what_acts`.
    """
    self._learner = learner
    self._address = address
    self._caller = caller
    self._described = described
    self._differences: list[str] | None = None
    self._error: Exception | None = None
    self._progress: service.Progress | None = None
    self._closed = threading.Event()
    threading.Thread(target=self._poll, daemon=True).start()

  @property
  def over(self) -> bool:
    """Whether the run is over."""
    return self._progress is not None and bool(self._progress.over)

  @property
  def progress(self) -> service.Progress | None:
    """How the learner stood at its last answer; None before the first."""
    return self._progress

  def waits_for(self) -> str:
    """Returns why the learner is of no use yet; nothing if it is.

    Raises:
      AnotherRunError: the learner trains another agent or in another
        environment; says in what they differ.
    """
    differences, error = self._differences, self._error
    progress = self._progress
    if differences:
      raise run_folder.AnotherRunError(
        f'The learner at {self._address} is that of another run; start both '
        'with the same agent, task and limits:\n  ' + '\n  '.join(differences)
      )
    if isinstance(error, rpc.OtherKeyError):
      return f'waiting for the learner: {error}'
    waits = f'waiting for the learner at {self._address}'
    if differences is None or progress is None:
      return waits
    return f'{waits}: {progress.starting}' if progress.starting else ''

  def close(self) -> None:
    """Ends the polling, after the question under way."""
    self._closed.set()

  def _poll(self) -> None:
    while not self._closed.is_set():
      try:
        if self._differences is None:
          self._differences = self._learner.differences(self._described)
        self._progress = self._learner.progress(self._caller)
        if self._progress.over:
          return
      except Exception as error:  # noqa: BLE001 (it must go on, whatever fails)
        # Lost contact is told by the threads that fetch parameters and send
        # episodes. A learner that comes back may be that of another run.
        logging.log_every_n_seconds(
          logging.INFO, 'The learner does not answer: %s', 60, error
        )
        self._differences, self._error = None, error
        self._progress = None
      self._closed.wait(_PERIOD_S)
