"""What a run is: the one description that every program is made from."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import os
import pathlib
from typing import Annotated, Any

import dm_env

from serl import configs
from serl import core
from serl import specs
from serl import types
from serl.agents import builder as builder_lib
from serl.demos import recording
from serl.programs import watchdog
from serl.teleop import intervention

# seed -> environment. Called in the process that steps it; it may be a
# `functools.partial`, whose arguments then belong to the run's identity.
EnvironmentFactory = Callable[[int], dm_env.Environment]

InterventionFactory = Callable[
  [core.Actor, dm_env.Environment], intervention.InterventionActor
]


_Rate = Annotated[float, configs.Bounds(0, 10_000, '(]')]


def _free(default: Any, flag: str | None = None) -> Any:
  """Returns a field that a resumed run may change."""
  return configs.field(default, flag=flag, free=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
  """A run: which agent learns in which environment, from what, for how long.

  The fields are of two kinds. Most of them say what the run is, and a run
  folder is only resumed by the same ones. The rest (`free` below: how long, how
  fast, where) may be changed when it is resumed.
  """

  # All that the run leaves.
  run_dir: configs.Path = _free('runs/run', '--run')
  make_environment: EnvironmentFactory
  builder: builder_lib.Builder
  # A folder of episode files, or one, or the episodes, for the tables that ask
  # for them. Several by the names that the tables have as their sources.
  demonstrations: (
    recording.Demonstrations | Mapping[str, recording.Demonstrations] | None
  ) = None
  # The same for what the task is to lead to: the next observation of each of
  # their steps is a goal.
  goals: recording.Demonstrations | None = None
  # Steps after which the task's clock ends an episode, which others' pickles do
  # not say of their own; None for no clock.
  episode_steps: configs.Count | None = _free(None)
  seed: configs.Seed = configs.field(0, flag='--seed')
  # For a machine where the environment cannot be made: the learner's, when the
  # robot is at the actor's. None makes one to see.
  environment_spec: specs.EnvironmentSpec | None = _free(None)

  # Collecting.
  # Uniform actions before the policy acts.
  random_steps: configs.NonNegativeInt = 1000
  num_actors: configs.Few = _free(1)
  # Paces each actor; None steps as fast as it can. A real robot paces itself.
  steps_per_second: _Rate | None = _free(None, '--steps-per-second')
  # Of all actors; then the run ends.
  max_env_steps: configs.Count = _free(1_000_000, '--max-env-steps')
  # (actor, environment) -> an actor around it that a person may overrule, such
  # as a partial of `teleop.opening.intervene`; called in the actor's process.
  make_intervention: InterventionFactory | None = _free(None)
  # Of a page on the actor's machine with the images that the policy sees; the
  # next actor has the next one. None shows nothing.
  live_port: configs.Port | None = _free(None, '--live-port')
  # Of this launch, from its first update on; before it, `start_limit_s` or as
  # long, whichever is longer.
  time_limit_s: configs.Seconds | None = _free(None, '--minutes')
  start_limit_s: configs.Seconds = _free(1800.0, '--start-minutes')
  # Without one good step of a robot that fails again and again; then the run
  # ends with the fault. None tries for ever.
  fault_limit_s: configs.Seconds | None = _free(600.0, '--fault-minutes')
  # Of one call of the environment; then the run ends. The reset of an arm that
  # moves its joints takes longer. None waits for ever.
  step_limit_s: configs.Seconds | None = _free(45.0, '--step-limit')
  reset_limit_s: configs.Seconds | None = _free(45.0, '--reset-limit')

  # Learning.
  # Critic updates an environment step.
  updates_per_step: _Rate = _free(1.0, '--updates-per-step')
  # Actors wait between episodes while the updates of their steps are overdue,
  # so that a number of steps means as much on a slow machine as on a fast one.
  # None: unless the environment runs in real time, as an arm; see
  # `core.HasRealTime`.
  keep_ratio: bool | None = _free(None, '--keep-ratio')
  # Rounds between published parameters.
  publish_every: configs.Count = _free(10)
  # At least, between an actor's pulls.
  pull_every_s: configs.Seconds = _free(0.1)

  # Learning from demonstrations alone, by `run_offline`.
  # Rounds; then the run ends.
  max_learner_steps: configs.Count = _free(10_000, '--max-learner-steps')
  # Of the demonstrations' episodes, which only measure.
  held_out_fraction: configs.Part = 0.1

  # Evaluating.
  evaluate: bool = _free(True)  # False on a real robot: it has one arm
  evaluation_episodes: configs.Count = _free(20, '--evaluation-episodes')
  # Between the starts of two sweeps.
  evaluation_period_s: configs.Seconds = _free(15.0, '--evaluation-period')
  # Ends the run once this many episodes of one sweep succeeded.
  stop_at_successes: configs.Count | None = _free(None)
  # Likewise once the mean return of one is as large.
  stop_at_return: float | None = _free(None)

  # Keeping.
  checkpoint_period_s: configs.Seconds = _free(30.0)
  checkpoints_kept: configs.Count = _free(3)
  log_period_s: configs.Seconds = _free(2.0)
  wandb: bool = _free(False, '--wandb')

  def __post_init__(self):
    configs.check(self)
    configs.demand(
      self,
      (
        'num_actors',
        self.make_intervention is None or self.num_actors == 1,
        '1 where a person intervenes',
      ),
      (
        'live_port',
        (self.live_port or 1) + self.num_actors - 1 <= 65535,
        f'at most {65536 - self.num_actors}: each of the {self.num_actors} '
        'actors has the next one',
      ),
      (
        'stop_at_successes',
        (self.stop_at_successes or 1) <= self.evaluation_episodes,
        f'None or 1 to evaluation_episodes ({self.evaluation_episodes})',
      ),
    )
    tables = builder_lib.check_tables(
      self.builder.make_tables(), self.builder.batch_spec()
    )
    shows = any(table.is_demonstrated for table in tables)
    if self.builder.batch_spec().needs_demonstrations and not shows:
      raise ValueError(
        'The agent clones demonstrations (SACConfig.cloning, '
        'HybridConfig.margin), but none of its tables holds any: put '
        'RLPDBuilder around it, or set these to 0.'
      )
    if isinstance(self.demonstrations, Mapping):
      drawn = {table.source for table in tables if table.is_demonstrated}
      unused = sorted(set(self.demonstrations) - drawn)
      if unused:
        raise ValueError(
          f'demonstrations are given by the names {list(self.demonstrations)}, '
          f'expected of {sorted(drawn)}, the sources of the tables: none draws '
          f'from {unused}.'
        )
    for table in tables:
      if table.source == builder_lib.GOALS and self.goals is None:
        raise _missing(table, 'goals is None')
      given = self.demonstrations_by_source
      if table.is_demonstrated and table.source not in given:
        raise _missing(
          table,
          f'demonstrations has only {list(given)}'
          if given
          else 'demonstrations is None',
        )

  @property
  def folder(self) -> pathlib.Path:
    """The run's folder, absolute: nodes may have another working directory."""
    return pathlib.Path(self.run_dir).expanduser().resolve()

  @property
  def call_limits(self) -> watchdog.Limits:
    """How long a call of the environment may take."""
    return watchdog.Limits(self.step_limit_s, self.reset_limit_s)

  @property
  def offline(self) -> bool:
    """Whether the agent learns from demonstrations alone."""
    return all(table.is_demonstrated for table in self.builder.make_tables())

  @property
  def learns_from_rewards(self) -> bool:
    """Whether the rewards of demonstrations count.

    They do not where demonstrations are cloned alone, nor where the reward is
    learned from goals.
    """
    tables = self.builder.make_tables()
    has_goals = any(table.source == builder_lib.GOALS for table in tables)
    return not self.offline and not has_goals

  @property
  def demonstrations_by_source(self) -> Mapping[str, recording.Demonstrations]:
    """The demonstrations by the names that tables have as their sources."""
    if isinstance(self.demonstrations, Mapping):
      return self.demonstrations
    if self.demonstrations is None:
      return {}
    return {builder_lib.DEMONSTRATIONS: self.demonstrations}

  def make_spec(self) -> specs.EnvironmentSpec:
    """Returns the environment's spec, from an instance if none is given."""
    if self.environment_spec is not None:
      return self.environment_spec
    with watchdog.Watchdog('spec', self.call_limits) as guard:
      environment = guard.make(self.make_environment, self.seed)
      try:
        return specs.make_environment_spec(environment)
      finally:
        environment.close()

  def describe(self, spec: specs.EnvironmentSpec) -> dict[str, Any]:
    """Returns what makes this run this run, as plain JSON data."""
    described: dict[str, Any] = {
      'agent': _plain(self.builder.describe()),
      'environment': _plain(self.make_environment),
      'observations': specs.to_dict(spec.observations),
      'actions': specs.to_dict(spec.actions),
    }
    for field in dataclasses.fields(self):
      if field.name in ('builder', 'make_environment'):
        continue
      if not field.metadata.get('free'):
        described[field.name] = _plain(getattr(self, field.name))
    for name in ('demonstrations', 'goals'):
      described[name] = self._located(getattr(self, name))
    return described

  def _located(self, data: Any) -> Any:
    """Returns demonstrations or goals as plain data.

    A path is described as it stays where the run's folder is moved with it.
    """
    if isinstance(data, Mapping):
      return {source: self._located(each) for source, each in data.items()}
    if not isinstance(data, (str, os.PathLike)):
      return _plain(data)
    found = pathlib.Path(data).expanduser().resolve()
    inside = found.is_relative_to(self.folder)
    return str(found.relative_to(self.folder) if inside else found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlternatingRuns:
  """Runs of several tasks of one robot, whose episodes one actor takes in turn.

  Each has a learner, a replay and a folder of its own. So two tasks, of which
  each begins where the other ends, need nobody to reset them; those that learn
  from demonstrations alone are evaluated so on one robot. They end
  together: when each has reached its own `stop_at_successes`, or when one of
  them is over for another reason.
  """

  run_dir: configs.Path  # of what the runs share: the actor's log
  runs: Mapping[configs.Name, RunConfig]  # by the names of the tasks
  # seed -> the environment that the actor acts in, whose `next_task` names the
  # run of the next episode; those of the runs serve to evaluate them, where
  # `RunConfig.evaluate` is True.
  make_environment: EnvironmentFactory

  def __post_init__(self):
    configs.check(self)
    folders = [run.folder for run in self.runs.values()]
    configs.demand(
      self,
      (
        'runs',
        bool(folders) and len({self.folder, *folders}) == 1 + len(folders),
        f'one or more in folders different from each other and from '
        f'{self.folder}; they are {list(map(str, folders))}',
      ),
      (
        'runs',
        all(run.num_actors == 1 for run in self.runs.values()),
        'num_actors of 1 in each: the tasks alternate on one robot',
      ),
    )

  @property
  def folder(self) -> pathlib.Path:
    """What is shared, absolute."""
    return pathlib.Path(self.run_dir).expanduser().resolve()


def runs_of(config: RunConfig | AlternatingRuns) -> Mapping[str, RunConfig]:
  """Returns the runs by their tasks; a single one's task has no name."""
  if isinstance(config, AlternatingRuns):
    return config.runs
  return {'': config}


def _missing(table: builder_lib.TableSpec, what: str) -> ValueError:
  return ValueError(
    f'The agent draws from the table {table.name!r}, filled by '
    f'{table.source!r}, but {what}. Give RunConfig a folder of recorded '
    'episodes, or take the builder that asks for them (RLPD, BC, VICE) away.'
  )


def _plain(value: Any) -> Any:
  """Returns `value` as JSON data; functions by their importable names."""
  if value is None or isinstance(value, (bool, int, float, str)):
    return value
  if isinstance(value, os.PathLike):
    return str(value)
  if isinstance(value, types.Episode):
    return {'steps': value.length, 'return': float(sum(value.reward))}
  if isinstance(value, functools.partial):
    return {
      'function': _plain(value.func),
      'arguments': _plain({**dict(enumerate(value.args)), **value.keywords}),
    }
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {
      f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)
    }
  if isinstance(value, Mapping):
    return {str(k): _plain(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(v) for v in value]
  if hasattr(value, 'tolist'):
    return value.tolist()
  if callable(value):
    return f'{value.__module__}.{value.__qualname__}'
  return repr(value)
