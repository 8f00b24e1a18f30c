"""The only place where an environment's step meets an actor's observe."""

from collections.abc import Callable
import time
from typing import NamedTuple

from absl import logging
import dm_env

from serl import conformance
from serl import core
from serl import specs
from serl.utils import counting
from serl.utils import loggers

# Between two attempts to begin an episode after a fault, s: the first, doubled
# after each fault until the longest.
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 5.0
_POLL_S = 0.1  # should_stop is asked so often meanwhile


class Faults(NamedTuple):
  """The faults since the last finished episode.

  Fields:
    text: of the newest one.
    count: how many there were.
    since: unix time of the first one.
  """

  text: str
  count: int
  since: float

  def __str__(self) -> str:
    return f'fault {self.count}: {self.text}'


class FaultLimitError(RuntimeError):
  """A robot failed again and again for a long time, without one good step."""


class EnvironmentLoop:
  """Runs an actor in an environment, episode after episode."""

  def __init__(
    self,
    environment: dm_env.Environment,
    actor: core.Actor,
    counter: counting.Counter | None = None,
    logger: loggers.Logger | None = None,
    sleep: Callable[[float], None] = time.sleep,
    on_fault: Callable[[Faults | None], None] = lambda faults: None,
    fault_limit_s: float | None = None,
    now: Callable[[], float] = time.monotonic,
  ):
    """Initialises the loop.

    Args:
      environment: acted in; it may be a `core.HasEpisodeMetrics`, which is
        reported with every episode, and a `core.HasHold`.
      actor: chooses the actions; it may be a `core.HasMetrics`, which is
        reported with every episode, and a `core.HasPrepare`.
      counter: of 'env_steps' and 'episodes', counted as episodes finish, so
        that it agrees with what was stored; a new one by default.
      logger: takes one record an episode, and one a fault: 'faults', the text
        'fault' and 'fault_s', the time since the first of them.
      sleep: waits for a time, s.
      on_fault: called with the faults after each one, and with None at the
        first step that succeeds after them.
      fault_limit_s: the time from a fault on without one good step after which
        `run_episode` raises; None tries for ever.
      now: returns the time, s.
    """
    self._environment = environment
    self._spec = specs.make_environment_spec(environment)
    self._actor = actor
    self._counter = counter or counting.Counter()
    self._logger = logger
    self._sleep = sleep
    self._on_fault = on_fault
    self._fault_limit_s = fault_limit_s
    self._now = now
    self._failing_since: float | None = None  # while no step succeeds

  def run_episode(
    self, should_stop: Callable[[], bool] = lambda: False
  ) -> dict[str, float] | None:
    """Runs one episode and reports it.

    After a `core.FaultError` the unfinished episode is dropped, and another one
    is begun as soon as that is possible.

    Args:
      should_stop: asked before every step; after a True the episode is dropped.

    Returns:
      The metrics of the episode, None if it was dropped: 'episode_return',
      'episode_length' (steps), 'steps_per_second', the counts 'env_steps' and
      'episodes', what the environment and the actor tell and, if there were
      any, 'faults' before it.

    Raises:
      FaultLimitError: no step has succeeded for `fault_limit_s`.
    """
    faults: Faults | None = None
    wait = _FIRST_WAIT_S
    while True:
      try:
        return self._run_episode(should_stop, faults)
      except core.FaultError as fault:
        # An actor that lost its device has no arm to hold.
        if isinstance(self._environment, core.HasHold):
          self._environment.hold()
        faults = self._note(fault, faults)
        logging.error(
          'The episode is dropped and none of it stored, trying again in '
          '%g s (fault %d): %s',
          wait,
          faults.count,
          fault,
        )
      if not self._waited(wait, should_stop):
        return None
      wait = min(2 * wait, _LONGEST_WAIT_S)

  def _note(self, fault: core.FaultError, before: Faults | None) -> Faults:
    """Reports a fault; returns it with those before it."""
    now = self._now()
    if self._failing_since is None:
      self._failing_since = now
    faults = Faults(
      str(fault),
      before.count + 1 if before else 1,
      before.since if before else time.time(),
    )
    self._on_fault(faults)
    if self._logger is not None:
      self._logger.write(
        {
          'env_steps': self._counter.get('env_steps'),
          'episodes': self._counter.get('episodes'),
          'faults': faults.count,
          'fault': faults.text,
          'fault_s': time.time() - faults.since,
        }
      )
    seconds = now - self._failing_since
    if self._fault_limit_s is not None and seconds >= self._fault_limit_s:
      raise FaultLimitError(
        f'No step has succeeded for {seconds:.0f} s, in which '
        f'{faults.count} faults were met, expected one within '
        f'{self._fault_limit_s:g} s. Mend what failed, then the same command '
        f'goes on. The last fault: {fault}'
      ) from fault
    return faults

  def _waited(self, wait: float, should_stop: Callable[[], bool]) -> bool:
    """Returns after `wait` seconds, or False as soon as it should stop."""
    for _ in range(round(wait / _POLL_S)):
      if should_stop():
        return False
      self._sleep(_POLL_S)
    return True

  def _run_episode(
    self, should_stop: Callable[[], bool], faults: Faults | None
  ) -> dict[str, float] | None:
    started = time.perf_counter()
    if isinstance(self._actor, core.HasPrepare):
      self._actor.prepare()
    timestep = self._environment.reset()
    conformance.check_first(timestep, self._spec)
    self._actor.observe_first(timestep)
    episode_return, length = 0.0, 0
    while not timestep.last():
      if should_stop():
        return None
      action = self._actor.select_action(timestep.observation)
      timestep = self._environment.step(action)
      if not length:
        conformance.check_step(timestep, self._spec)
      if self._failing_since is not None:
        self._failing_since = None
        self._on_fault(None)
      self._actor.observe(action, timestep)
      self._actor.update()
      episode_return += float(timestep.reward)
      length += 1
    counts = self._counter.increment(env_steps=length, episodes=1)
    metrics = {
      'env_steps': counts['env_steps'],
      'episodes': counts['episodes'],
      'episode_return': episode_return,
      'episode_length': length,
      'steps_per_second': length / (time.perf_counter() - started),
    }
    if isinstance(self._environment, core.HasEpisodeMetrics):
      metrics.update(self._environment.episode_metrics())
    if isinstance(self._actor, core.HasMetrics):
      metrics.update(self._actor.metrics())
    if faults:
      metrics['faults'] = faults.count
    if self._logger is not None:
      self._logger.write(metrics)
    return metrics

  def run(
    self,
    num_episodes: int | None = None,
    num_steps: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
  ) -> None:
    """Runs episodes until one of the limits is reached.

    Args:
      num_episodes: episodes to run.
      num_steps: steps to run at least: the episode under way is finished.
      should_stop: asked before every step; after a True the unfinished episode
        is dropped.
    """
    episodes, steps = 0, 0
    while not should_stop():
      if num_episodes is not None and episodes >= num_episodes:
        return
      if num_steps is not None and steps >= num_steps:
        return
      metrics = self.run_episode(should_stop)
      if metrics is None:
        return
      episodes += 1
      steps += metrics['episode_length']
