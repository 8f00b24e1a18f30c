"""A run in one process: no Reverb, no Launchpad, replay on the JAX device."""

from collections.abc import Callable, Mapping
import contextlib
import time

from absl import logging
import dm_env
import jax

from serl import core
from serl import environment_loop
from serl import specs
from serl import types
from serl.demos import files
from serl.demos import log as log_lib
from serl.programs import acting
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs import interrupt
from serl.programs import report
from serl.programs import run_folder
from serl.programs import training as training_lib
from serl.programs import watchdog
from serl.replay import local as local_replay
from serl.utils import counting
from serl.utils import loggers

_ACTOR = 'actor_0'
_EVALUATION_SEED_OFFSET = 10_000  # apart from the actor's seed


def run_local(
  config: config_lib.RunConfig | config_lib.AlternatingRuns,
) -> report.Summary | dict[str, report.Summary]:
  """Trains in this process: an episode, then the rounds that are due.

  The agents, the environment, the run folders and what resuming means are those
  of the distributed program. The ratio of updates to steps is always kept: an
  arm waits for the updates between its episodes.

  Returns:
    What came of the run, or of the runs by their tasks.

  Raises:
    AnotherRunError: the folder is another run's.
    FaultLimitError: the robot had no good step for `fault_limit_s`. What was
      learned is kept.
    HungError: a call of the environment does not return. Where it cannot be
      interrupted, the process ends.
  """
  runs = config_lib.runs_of(config)
  seed = next(iter(runs.values())).seed
  parts: dict[str, _Run] = {}
  launched = time.time()
  with contextlib.ExitStack() as stack:
    # Other starts than those of the episodes that are there.
    seed += sum(
      len(files.find(run_folder.episodes(run.folder, _ACTOR)))
      for run in runs.values()
    )
    first = next(iter(runs.values()))
    guard = stack.enter_context(watchdog.Watchdog(_ACTOR, first.call_limits))
    environment = acting.shown(guard.make(config.make_environment, seed), first)
    stack.callback(environment.close)
    spec = specs.make_environment_spec(environment)
    for task, run in runs.items():
      resumed = run_folder.claim(run, spec, task)
      logging.info('%s %s.', 'Resuming' if resumed else 'Starting', run.folder)
    stack.enter_context(run_folder.used(config.folder))
    for task, run in runs.items():
      opened = stack.enter_context(
        loggers.open_loggers(
          run.folder, ('learner', _ACTOR, 'evaluator'), run.wandb
        )
      )
      parts[task] = _Run(run, spec, environment, opened, guard)
      stack.callback(parts[task].close)
    for part in parts.values():
      part.compile()
    try:
      reason = _take_turns(parts, environment)
    except (environment_loop.FaultLimitError, watchdog.HungError):
      # What was learned before the robot failed is good.
      _save(parts)
      raise
    _save(parts)
  summaries = {
    task: report.make_report(run, spec, parts[task].reached or reason, launched)
    for task, run in runs.items()
  }
  return summaries.get('', summaries)


def _save(parts: Mapping[str, '_Run']) -> None:
  for part in parts.values():
    part.save()


def _take_turns(
  parts: Mapping[str, '_Run'], environment: dm_env.Environment
) -> str:
  """Runs until a limit, a success of each or a Ctrl-C; returns which."""
  reason = ''
  with interrupt.Interrupt() as interrupted:
    while not reason:
      task = acting.next_task(environment, parts)
      reason = parts[task].take_turn(interrupted.heard)
      if all(part.reached for part in parts.values()):
        reason = parts[task].reached
      if interrupted.heard():
        reason = report.INTERRUPTED
  return reason


class _Run:
  """All the parts of a run, which take an episode at a time."""

  def __init__(self, config, spec, environment, opened, guard):
    self._config = config
    self._loggers = opened
    self.reached = ''  # the evaluation that was as good as is wanted
    self._evaluated = time.monotonic()
    self._replay = local_replay.LocalReplay(
      config.builder.make_tables(),
      spec,
      config.builder.batch_spec(),
      config.seed,
    )
    self._tables = [table.name for table in config.builder.make_tables()]
    log = run_folder.open_log(config.folder, _ACTOR, environment)
    self._fill_replay(spec, log)
    self._training = training_lib.Training(
      config,
      spec,
      iter(self._replay),
      self._loggers['learner'],
      self._replay.update_priorities,
    )
    self._counter = counting.Counter()
    self._counter.increment(env_steps=log.steps, episodes=len(log))
    self._evaluation, self._evaluated_in = None, None
    self._best = evaluation.BestPolicy(config.folder)
    if config.evaluate:
      networks = config.builder.make_networks(spec)
      self._evaluated_in = guard.make(
        config.make_environment, config.seed + _EVALUATION_SEED_OFFSET
      )
      self._evaluation = evaluation.Evaluation(
        self._evaluated_in,
        config.builder.make_policy(networks, evaluation=True),
        config.fault_limit_s,
      )
    self._actor = acting.make_actor(
      config,
      environment,
      _Published(self._training),
      [log.append, self._insert],
      self._counter,
    )
    self._loop = environment_loop.EnvironmentLoop(
      environment,
      self._actor,
      self._counter,
      self._loggers[_ACTOR],
      # The loop logs what is said to be wrong.
      on_fault=acting.FaultDisplay(environment, lambda text, since: None),
      fault_limit_s=config.fault_limit_s,
    )

  def compile(self) -> None:
    """Compiles the learner's round: nothing acts before."""
    self._training.compile()

  def take_turn(self, interrupted: Callable[[], bool]) -> str:
    """Runs an episode and what is due then; returns which limit is reached."""

    def should_stop() -> bool:
      return interrupted() or bool(self._training.time_limit.reached())

    metrics = self._loop.run_episode(should_stop)
    if metrics is not None:
      evaluation.check_success(self._config, metrics)
    self._learn(should_stop)
    reason = self._limit()
    # The last one comes after the time.
    self._evaluate_if_due(bool(reason), interrupted if reason else should_stop)
    return reason

  def save(self) -> None:
    """Keeps the training's state and its last metrics."""
    self._training.save(self._env_steps)
    self._training.log(self._env_steps, self._sizes())

  def close(self) -> None:
    """Lets go of the person's device and of what is evaluated in."""
    acting.close(self._actor)
    if self._evaluated_in is not None:
      self._evaluated_in.close()

  @property
  def _env_steps(self) -> int:
    return int(self._counter.get('env_steps'))

  def _fill_replay(self, spec, log: log_lib.EpisodeLog) -> None:
    for names, episodes in training_lib.recorded(self._config, spec):
      for episode in episodes:
        self._replay.insert(episode, names)
    first_recent = log.first_within(training_lib.steps_kept(self._config))
    number = training_lib.next_of_use(log, 0, first_recent)
    while number is not None:
      episode = log.read(number)
      if episode is not None:
        self._insert(episode)
      number = training_lib.next_of_use(log, number + 1, first_recent)

  def _insert(self, episode: types.Episode) -> None:
    destinations = training_lib.destinations(self._config, episode)
    self._replay.insert(episode, destinations)

  def _learn(self, should_stop: Callable[[], bool]) -> None:
    """Does the rounds that the steps so far are due."""
    steps, sizes = self._env_steps, self._sizes()
    while self._replay.can_sample() and self._training.may_step(steps):
      if should_stop():
        return
      self._training.step(steps, sizes)

  def _evaluate_if_due(
    self, last: bool, should_stop: Callable[[], bool]
  ) -> None:
    """Evaluates, and notes whether that is as good as is wanted."""
    config, now = self._config, time.monotonic()
    due = last or now - self._evaluated >= config.evaluation_period_s
    if self._evaluation is None or not due:
      return
    variables = _on_device(self._training.get_variables())
    found = self._evaluation.sweep(
      variables.params, config.evaluation_episodes, should_stop
    )
    # From its end on: a sweep may take longer than the period.
    self._evaluated = time.monotonic()
    if found is None:
      return
    self._best.offer(variables.params, variables.learner_steps, found)
    self._loggers['evaluator'].write(
      {
        'learner_steps': variables.learner_steps,
        'env_steps': self._env_steps,
        **found,
      }
    )
    logging.info(
      '%d environment steps, %d learner steps: %s.',
      self._env_steps,
      variables.learner_steps,
      evaluation.outcome(found),
    )
    self.reached = evaluation.goal_reached(config, found) or self.reached

  def _limit(self) -> str:
    limit = training_lib.steps_limit_reached(self._config, self._env_steps)
    return limit or self._training.time_limit.reached()

  def _sizes(self) -> dict[str, int]:
    return {name: self._replay.size(name) for name in self._tables}


class _Published:
  """What an actor in the learner's process takes its parameters from."""

  def __init__(self, training: training_lib.Training):
    self._training = training
    self._step = -1
    self.update()

  def update(self) -> None:
    """Takes what is published: it is already here."""
    variables = self._training.get_variables()
    if variables.learner_steps != self._step:
      self._step = variables.learner_steps
      self.params = _on_device(variables).params
    self._metrics = {
      'params_age': variables.age,
      'params_step': variables.learner_steps,
    }

  def metrics(self) -> dict[str, float]:
    """Returns how old the parameters were when they were taken."""
    return self._metrics


def _on_device(variables: core.Variables) -> core.Variables:
  """Returns variables with their parameters on the device."""
  return variables._replace(params=jax.device_put(variables.params))
