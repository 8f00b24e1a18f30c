"""The actor's node: steps the environment, logs and sends its episodes."""

from collections.abc import Callable, Mapping
import contextlib
import pathlib

import dm_env
import launchpad as lp

from serl import environment_loop
from serl import specs
from serl.agents import variables
from serl.demos import files
from serl.environments.wrappers import pacing
from serl.programs import acting
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs import ratio
from serl.programs import run_folder
from serl.programs import training as training_lib
from serl.programs import watchdog
from serl.programs.distributed import heartbeat
from serl.programs.distributed import pausing
from serl.programs.distributed import poller
from serl.programs.distributed import process
from serl.programs.distributed import shipping
from serl.utils import counting
from serl.utils import loggers

_PACE = "at the learner's pace: waits between episodes for its updates"
_CLOSE_S = 3.0  # for the last episodes to reach the replays, in all


def name(index: int) -> str:
  """Returns the name of the actor node `index`."""
  return f'actor_{index}'


class Actor:
  """Acts, episode after episode, while the learners can be reached."""

  def __init__(
    self,
    runs: Mapping[str, process.Served],
    make_environment: config_lib.EnvironmentFactory,
    folder: pathlib.Path,
    index: int,
    clock: process.Clock,
  ):
    """Initialises the node.

    Args:
      runs: that it acts for, by their tasks. Of several the environment's
        `next_task` names that of the next episode.
      make_environment: seed -> environment.
      folder: of the node's log.
      index: which of the actors this is.
      clock: of the launch.
    """
    self._runs = runs
    self._make_environment = make_environment
    self._folder = folder
    self._index = index
    self._clock = clock

  def run(self) -> None:
    """Runs episodes until a run is over or is stopped."""
    stop = lp.stop_event()
    own = name(self._index)
    status = process.Status(self._folder, own)
    config = next(iter(self._runs.values())).config
    # Other starts than those of the episodes that are there, and of the others.
    logged = sum(
      len(files.find(run_folder.episodes(served.config.folder, own)))
      for served in self._runs.values()
    )
    seed = config.seed + 1 + self._index + config.num_actors * logged
    with contextlib.ExitStack() as stack:
      guard = stack.enter_context(
        watchdog.Watchdog(own, config.call_limits, status.say)
      )
      environment = guard.make(self._make_environment, seed)
      if config.steps_per_second is not None:
        environment = pacing.RealTime(environment, 1 / config.steps_per_second)
      environment = acting.shown(environment, config, self._index)
      stack.callback(environment.close)
      keeps_ratio = ratio.keeps(config.keep_ratio, environment)
      parts = {}
      for task, served in self._runs.items():
        parts[task] = _Part(
          served, environment, self._index, self._clock, status
        )
        stack.callback(parts[task].close, _CLOSE_S / len(self._runs))

      heartbeat.end_start(self._folder, own, config.call_limits)

      def time_is_up() -> str:
        reasons = (part.timer.reached() for part in parts.values())
        return next(filter(None, reasons), '')

      def should_stop() -> bool:
        return stop.is_set() or bool(time_is_up())

      has_waited = False
      while not should_stop() and not any(p.over for p in parts.values()):
        waits = [p.waits_for() for p in parts.values()]
        if any(waits):
          status.say(next(filter(None, waits)))
          stop.wait(0.1)
          continue
        task = acting.next_task(environment, parts)
        if keeps_ratio and parts[task].is_ahead():
          has_waited = True
          status.say(_PACE)
          stop.wait(0.05)
          continue
        # It stays: another episode, and the actor waits again.
        status.say(_PACE if has_waited else '')
        has_waited = False
        parts[task].run_episode(should_stop)
      process.say_limit(status, time_is_up())


class _Part:
  """All that an actor has of one run."""

  def __init__(
    self,
    served: process.Served,
    environment: dm_env.Environment,
    index: int,
    clock: process.Clock,
    status: process.Status,
  ):
    config = served.config
    self._config = config
    self._address = served.address
    self._name = name(index)
    spec = specs.make_environment_spec(environment)
    log = run_folder.open_log(config.folder, self._name, environment)
    self._shipper = shipping.Shipper(
      log,
      served.learner,
      self._name,
      training_lib.steps_kept(config),
    )
    self._shipper.start()
    self._poller = poller.LearnerPoller(
      served.learner,
      served.address,
      self._name,
      run_folder.what_acts(config, spec),
    )
    self._client = variables.VariableClient(served.learner, config.pull_every_s)
    self.timer = process.Timer(config, self._client)
    self._logger = loggers.make_logger(
      config.folder, self._name, config.wandb, clock.origin
    )
    counter = counting.Counter()
    counter.increment(env_steps=log.steps, episodes=len(log))
    self._actor = acting.make_actor(
      config,
      environment,
      self._client,
      [log.append, lambda _: self._shipper.notify()],
      counter,
      index,
      config.num_actors,
    )
    self._log = log
    self._pause = pausing.Pause(config.num_actors)
    self._loop = environment_loop.EnvironmentLoop(
      environment,
      self._actor,
      counter,
      self._logger,
      on_fault=acting.FaultDisplay(environment, status.say),
      fault_limit_s=config.fault_limit_s,
    )

  def waits_for(self) -> str:
    """Returns why no episode may start; nothing if one may.

    Raises:
      AnotherRunError: the learner is that of another run.
      Exception: the learner takes no more episodes, or none of this one.
    """
    if self._shipper.failure is not None:
      raise self._shipper.failure
    if waits := self._poller.waits_for():
      return waits
    if self._shipper.lost_since is None and self._client.params is not None:
      return ''
    self._client.update()
    return f'waiting for the learner at {self._address}'

  def is_ahead(self) -> bool:
    """Returns whether the updates of too many steps are overdue."""
    progress = self._poller.progress
    if progress is None:  # lost meanwhile
      return False
    # The next episode begins with the newest parameters, and time goes on.
    self._client.update()
    unsent = self._log.steps_between(progress.wanted, self._log.end)
    return self._pause.is_due(progress, unsent)

  def run_episode(self, should_stop: Callable[[], bool]) -> None:
    """Runs an episode, unless it is stopped."""
    metrics = self._loop.run_episode(should_stop)
    if metrics is not None:
      evaluation.check_success(self._config, metrics)
      self._pause.note_episode(metrics['episode_length'])

  @property
  def over(self) -> bool:
    """Whether the learner says that the run is over."""
    return self._poller.over

  def close(self, timeout_s: float) -> None:
    """Closes what is open; the last episode has `timeout_s` to be sent."""
    self._poller.close()
    acting.close(self._actor)
    self._shipper.close(timeout_s)
    self._client.close()
    self._logger.close()
