"""The evaluator's node: sweeps of episodes with the newest parameters."""

from collections.abc import Callable, Mapping
import contextlib
import pathlib
import threading
import time

from absl import logging
import launchpad as lp

from serl import specs
from serl.agents import variables
from serl.programs import acting
from serl.programs import evaluation
from serl.programs import run_folder
from serl.programs import watchdog
from serl.programs.distributed import heartbeat
from serl.programs.distributed import poller
from serl.programs.distributed import process
from serl.programs.distributed import rpc
from serl.utils import loggers

NAME = 'evaluator'
_END_S = 10.0
_SEED_OFFSET = 10_000  # apart from the actors' seeds


class Evaluator:
  """Evaluates, and tells the learners what it saw."""

  def __init__(
    self,
    runs: Mapping[str, process.Served],
    folder: pathlib.Path,
    clock: process.Clock,
  ):
    """Initialises the node.

    Args:
      runs: by their tasks.
      folder: of the node's log.
      clock: of the launch.
    """
    self._runs = runs
    self._folder = folder
    self._clock = clock

  def run(self) -> None:
    """Sweeps until a run is over, never twice with the same parameters."""
    stop = lp.stop_event()
    status = process.Status(self._folder, NAME)
    with contextlib.ExitStack() as stack:
      parts = []
      limits = next(iter(self._runs.values())).config.call_limits
      guard = stack.enter_context(watchdog.Watchdog(NAME, limits, status.say))
      for served in self._runs.values():
        parts.append(_Part(served, self._clock, guard, status))
        stack.callback(parts[-1].close)
      heartbeat.end_start(self._folder, NAME, limits)

      def time_is_up() -> str:
        return next(filter(None, (part.timer.reached() for part in parts)), '')

      def ended() -> bool:
        is_over = stop.is_set() or any(part.over for part in parts)
        return is_over or bool(time_is_up())

      while not ended():
        due = [part for part in parts if part.is_due()]
        if not due:
          waits = (part.waits_for() for part in parts)
          status.say(next(filter(None, waits), ''))
          stop.wait(0.1)
          continue
        status.say('')
        for part in due:
          part.sweep(ended)
        # A run that is over ends the others.
        if all(part.has_reached() for part in parts):
          for part in parts:
            if not stop.is_set():
              part.tell(stop)
      process.say_limit(status, time_is_up())


class _Part:
  """All that the evaluator has of one run."""

  def __init__(
    self,
    served: process.Served,
    clock: process.Clock,
    guard: watchdog.Watchdog,
    status: process.Status,
  ):
    config = served.config
    self._config = config
    self._learner = served.learner
    self._address = served.address
    self._environment = guard.make(
      config.make_environment, config.seed + _SEED_OFFSET
    )
    spec = specs.make_environment_spec(self._environment)
    self._logger = loggers.make_logger(
      config.folder, NAME, config.wandb, clock.origin
    )
    networks = config.builder.make_networks(spec)
    self._sweeps = evaluation.Evaluation(
      self._environment,
      config.builder.make_policy(networks, evaluation=True),
      config.fault_limit_s,
      acting.FaultDisplay(self._environment, status.say),
    )
    self._client = variables.VariableClient(served.learner, config.pull_every_s)
    self.timer = process.Timer(config, self._client)
    self._poller = poller.LearnerPoller(
      served.learner, served.address, NAME, run_folder.what_acts(config, spec)
    )
    self._best = evaluation.BestPolicy(config.folder)
    self._step, self._began = 0, -float('inf')
    # The newest sweep that was as good as the run is to become.
    self._goal: dict[str, float] | None = None

  def waits_for(self) -> str:
    """Returns why no sweep may start; nothing if one may.

    Raises:
      AnotherRunError: the learner is that of another run.
    """
    if waits := self._poller.waits_for():
      return waits
    if self._client.failure is not None:
      return f'waiting for the learner at {self._address}'
    if self._client.learner_steps is None:
      return 'waiting for a trained policy'
    return ''

  @property
  def over(self) -> bool:
    """Whether the learner says that the run is over."""
    return self._poller.over

  def is_due(self) -> bool:
    """Returns whether there are other parameters, and it is time for them."""
    self._client.update()
    step = self._client.learner_steps
    waited = time.monotonic() - self._began
    return (
      step is not None
      and step != self._step
      and waited >= self._config.evaluation_period_s
    )

  def sweep(self, ended: Callable[[], bool]) -> None:
    """Evaluates the newest parameters, unless it is ended meanwhile."""
    self._began, self._step = time.monotonic(), self._client.learner_steps
    behind = {
      'learner_steps': self._step,
      'env_steps': self._client.env_steps,
    }
    found = self._sweeps.sweep(
      self._client.params, self._config.evaluation_episodes, ended
    )
    if found is None:
      return
    self._best.offer(self._client.params, self._step, found)
    self._logger.write({**behind, **found})
    logging.info('Learner step %d: %s', self._step, evaluation.outcome(found))
    if evaluation.goal_reached(self._config, found):
      self._goal = found

  def has_reached(self) -> bool:
    """Returns whether a sweep was as good as the run is to become."""
    return self._goal is not None

  def tell(self, stop: threading.Event) -> None:
    """Tells the learner of that sweep."""
    try:
      self._learner.evaluated(self._goal)
    # At the end the learner is the first to go, and its process ends the run.
    except rpc.CallError:
      if not stop.wait(_END_S):
        raise

  def close(self) -> None:
    """Closes what is open."""
    self._poller.close()
    self._environment.close()
    self._client.close()
    self._logger.close()
