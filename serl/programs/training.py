"""The learner's side of a run, wherever it runs: rounds, ratio, checkpoints."""

from collections.abc import Callable, Iterator, Mapping
import os
import pathlib
import sys
import threading
import time
from typing import Any

from absl import logging
import jax
import numpy as np

from serl import core
from serl import policies
from serl import specs
from serl import types
from serl.agents import builder
from serl.agents import learner as learner_lib
from serl.demos import log as log_lib
from serl.demos import recording
from serl.programs import config as config_lib
from serl.programs import divergence
from serl.programs import ratio as ratio_lib
from serl.programs import run_folder
from serl.programs import time_limit
from serl.teleop import intervention
from serl.utils import checkpointing
from serl.utils import loggers

# How long a call for newer parameters waits for them.
_MOMENT_S = 0.5


class Training:
  """Trains an agent as a run config says, and keeps what it learned.

  Made on a folder with checkpoints it goes on from the last one.
  """

  def __init__(
    self,
    config: config_lib.RunConfig,
    spec: specs.EnvironmentSpec,
    iterator: Iterator[types.Batch],
    logger: loggers.Logger,
    write_back: learner_lib.WriteBack | None = None,
  ):
    """Initialises the training.

    Args:
      config: of the run.
      spec: of its environment.
      iterator: gives the batch of each round.
      logger: takes the learner's metrics every `config.log_period_s`.
      write_back: takes TD errors, where a table is prioritised.
    """
    self._config = config
    self._spec = spec
    self._logger = logger
    networks = config.builder.make_networks(spec)
    self._values = divergence.ValueCheck(config, spec)
    self._learner = learner_lib.Learner(
      config.builder.make_algorithm(networks),
      learner_key(config),
      self._values.watch(iterator),
      write_back if any(t.is_prioritised for t in tables(config)) else None,
    )
    self._checkpointer = checkpointing.Checkpointer(
      run_folder.checkpoints(config.folder), keep=config.checkpoints_kept
    )
    # Without an environment there are no steps to be ahead of.
    self.ratio = None if config.offline else make_ratio(config)
    self._news = threading.Condition()
    self._published: core.Variables | None = None
    self._published_at = 0.0
    self._logged = self._checkpointed = time.monotonic()
    self._metrics: types.Metrics = {}
    self._diverged = ''
    self.time_limit = time_limit.TimeLimit(config)
    self._publish(self._restore())

  @property
  def learner_steps(self) -> int:
    """The rounds done, over all launches of the run."""
    return self._learner.learner_steps

  @property
  def learner_state(self) -> Any:
    """The algorithm's training state; the next `step` consumes it."""
    return self._learner.state

  def get_variables(self, after: int = -1) -> core.Variables | None:
    """Returns the published parameters; see `core.VariableSource`.

    Any thread may call it.
    """
    # Others, not only newer ones: a learner that was killed goes on from an
    # older checkpoint than an actor elsewhere may know.
    with self._news:
      if not self._news.wait_for(
        lambda: self._published.learner_steps != after, _MOMENT_S
      ):
        return None
      age = time.monotonic() - self._published_at
      return self._published._replace(age=age)

  def compile(self) -> None:
    """Compiles the round: nothing acts before."""
    self._learner.compile(_zero_batch(self._config, self._spec))

  def may_step(self, env_steps: int) -> bool:
    """Returns whether a round is due after `env_steps`.

    What is taken beyond the run's limit is owed no updates.
    """
    env_steps = min(env_steps, self._config.max_env_steps)
    return self.ratio.may_update(env_steps, self.learner_steps)

  def overdue(self, env_steps: int) -> float:
    """Returns for how many of `env_steps` a round has been due."""
    env_steps = min(env_steps, self._config.max_env_steps)
    return self.ratio.overdue(env_steps, self.learner_steps)

  def step(self, env_steps: int, sizes: Mapping[str, int]) -> None:
    """Does a round; publishes, logs and checkpoints when it is time.

    Args:
      env_steps: taken so far, over all launches of the run.
      sizes: transitions by table, for the log.

    Raises:
      NonFiniteError: a loss is NaN or infinite; nothing of it is kept.
      CheckpointError: the checkpoint could not be written.
    """
    self._metrics = self._learner.step()
    self.time_limit.note_update()
    if self.learner_steps % self._config.publish_every == 0:
      self._publish(env_steps)
    now = time.monotonic()
    if now - self._logged >= self._config.log_period_s:
      self._logged = now
      self.log(env_steps, sizes)
    if now - self._checkpointed >= self._config.checkpoint_period_s:
      self.save(env_steps)

  def log(self, env_steps: int, sizes: Mapping[str, int]) -> None:
    """Writes the metrics of the last round, and where the run stands."""
    counts = {f'{name}_size': size for name, size in sizes.items()}
    ratio = {}
    if self.ratio is not None:
      achieved = self.ratio.achieved(env_steps, self.learner_steps)
      ratio = {
        'updates_per_step_asked': self.ratio.asked,
        'updates_per_step': achieved,
      }
    metrics = jax.device_get(dict(self._metrics))
    diverged = self._values.check(metrics)
    if diverged and not self._diverged:
      logging.error('Learner step %d: %s.', self.learner_steps, diverged)
    self._diverged = diverged
    self._logger.write(
      {
        'learner_steps': self.learner_steps,
        'env_steps': env_steps,
        **ratio,
        **counts,
        **metrics,
        **({'divergence': diverged} if diverged else {}),
      }
    )

  def save(self, env_steps: int) -> None:
    """Checkpoints the training state and the counters."""
    saved = self._learner.save()
    self._checkpointer.save(
      self.learner_steps, saved.state, {'env_steps': env_steps}
    )
    self._checkpointed = time.monotonic()

  def _restore(self) -> int:
    """Takes the last checkpoint; returns its environment steps."""
    found = self._checkpointer.restore_latest(self._learner.save().state)
    self._checkpointer.set_damaged_aside()
    if found is None:
      return 0
    step, state, counters = found
    steps = np.asarray(step, np.int64)
    self._learner.restore(learner_lib.SavedLearner(state, steps))
    logging.info('Going on from the checkpoint of learner step %d.', step)
    return int(counters.get('env_steps', 0))

  def _publish(self, env_steps: int) -> None:
    params = self._config.builder.policy_params(self._learner.state)
    # Copies: the next round takes the state's memory.
    params = jax.tree.map(np.array, jax.device_get(params))
    learner_lib.check_finite(params, self.learner_steps)
    published = core.Variables(params, self.learner_steps, 0.0, env_steps)
    with self._news:
      self._published_at = time.monotonic()
      self._published = published
      self._news.notify_all()


def _zero_batch(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> types.Batch:
  """Returns a batch of one round, of zeros."""
  batch_spec = config.builder.batch_spec()
  shape = (batch_spec.updates_per_round, batch_spec.batch_size)
  zeros = lambda leaf: np.zeros(shape + leaf.shape, leaf.dtype)
  observation = jax.tree.map(zeros, spec.observations)
  scalar = np.zeros(shape, np.float32)
  transition = types.Transition(
    observation, zeros(spec.actions), scalar, scalar, observation
  )
  return types.Batch.uniform(transition)


def learner_key(config: config_lib.RunConfig) -> types.PRNGKey:
  """Returns the random key of the learner."""
  return jax.random.fold_in(jax.random.PRNGKey(config.seed), 0)


def actor_key(config: config_lib.RunConfig, index: int) -> types.PRNGKey:
  """Returns the random key of an actor; every actor has another one."""
  return jax.random.fold_in(jax.random.PRNGKey(config.seed), 1 + index)


def make_ratio(config: config_lib.RunConfig) -> ratio_lib.UpdateRatio:
  """Returns the ratio that the learner keeps to.

  It is the one that the run asks for, or that of the online table that allows
  the fewest samples for each step.
  """
  batch_spec = config.builder.batch_spec()
  shares = builder.shares(tables(config), batch_spec.batch_size)
  allowed = (
    table.samples_per_insert / shares[table.name]
    for table in tables(config)
    if table.samples_per_insert is not None
  )
  return ratio_lib.UpdateRatio(
    asked=min((config.updates_per_step, *allowed)),
    start_step=max(table.min_size for table in online_tables(config)),
    updates_per_round=batch_spec.updates_per_round,
  )


def steps_limit_reached(config: config_lib.RunConfig, env_steps: int) -> str:
  """Returns the limit of environment steps if it is reached, else nothing."""
  if env_steps >= config.max_env_steps:
    return f'the limit of {config.max_env_steps:,} environment steps'
  return ''


def tables(config: config_lib.RunConfig) -> tuple[builder.TableSpec, ...]:
  """Returns the tables that the agent draws from."""
  return tuple(config.builder.make_tables())


def online_tables(config: config_lib.RunConfig) -> list[builder.TableSpec]:
  """Returns the tables that the actors' experience goes to, each step of it."""
  return [t for t in tables(config) if t.source == builder.ONLINE]


def steps_kept(config: config_lib.RunConfig) -> int:
  """Returns how many of the newest steps the online tables keep at most.

  A table that gives up other steps than the oldest may keep any of them.
  """
  online = online_tables(config)
  if any(t.remover != 'fifo' or t.make_table is not None for t in online):
    return sys.maxsize
  return max(table.max_size for table in online)


def destinations(
  config: config_lib.RunConfig, episode: types.Episode
) -> dict[str, np.ndarray]:
  """Returns which steps of an actor's episode each table gets, bool [T].

  Where a person intervened they demonstrated, so that those steps go to the
  tables of demonstrations, too, but for those that take none. Luo et al. 2024,
  HIL-SERL, arXiv 2410.21845.
  """
  online = {
    table.name: np.ones(episode.length, bool) for table in online_tables(config)
  }
  if intervention.TAG not in episode.extras:
    return online
  by_person = np.asarray(episode.extras[intervention.TAG], bool)
  demonstrated = {
    table.name: by_person
    for table in tables(config)
    if table.is_demonstrated and table.takes_interventions
  }
  return {**online, **demonstrated}


def next_of_use(
  log: log_lib.EpisodeLog, at_least: int, first_recent: int
) -> int | None:
  """Returns the number of the next episode of a log that a table would keep.

  The online tables give up the oldest steps first. Of those only what a person
  demonstrated is of use.

  Args:
    log: of an actor.
    at_least: from which number on to look.
    first_recent: the number from which on the online tables keep all.
  """
  number = log.next_number(at_least)
  while number is not None and number < first_recent:
    if log.may_hold(number, intervention.TAG):
      break
    number = log.next_number(number + 1)
  return number


def recorded(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> Iterator[tuple[list[str], list[types.Episode]]]:
  """Yields the names of the tables that files fill, with their episodes.

  Raises:
    FileError: see `load`.
  """
  for source in builder.sources(tables(config)):
    names = [t.name for t in tables(config) if t.source == source]
    if source == builder.ONLINE or not names:
      continue
    if source == builder.GOALS:
      goals = config.goals
      yield names, recording.load(goals, spec, on_damage(config, goals))
      continue
    yield names, load_demonstrations(config, spec, source)


def load_demonstrations(
  config: config_lib.RunConfig,
  spec: specs.EnvironmentSpec,
  source: str = builder.DEMONSTRATIONS,
) -> list[types.Episode]:
  """Returns the run's demonstrations of a name.

  Raises:
    FileError: see `recording.load_demonstrations`.
  """
  episodes = config.demonstrations_by_source[source]
  return recording.load_demonstrations(
    episodes,
    spec,
    on_damage(config, episodes),
    time_limit=config.episode_steps,
    rewarded=config.learns_from_rewards,
  )


def on_damage(
  config: config_lib.RunConfig, episodes: recording.Demonstrations
) -> log_lib.OnDamage | None:
  """Returns what is done with damaged files of demonstrations or goals.

  Those in the run's own folder are set aside. Others, which a person named, are
  refused.
  """
  if not isinstance(episodes, (str, os.PathLike)):
    return None
  path = pathlib.Path(episodes).expanduser()
  if not path.resolve().is_relative_to(config.folder):
    return None
  move = run_folder.set_aside(config.folder)
  return lambda path, error: move(path.resolve(), error)


def policy_params_like(config: config_lib.RunConfig) -> types.Params:
  """Returns the shapes and dtypes of the policy's parameters, as a tree."""
  networks = config.builder.make_networks(config.make_spec())
  algorithm = config.builder.make_algorithm(networks)
  return jax.eval_shape(
    lambda key: config.builder.policy_params(algorithm.init(key)),
    learner_key(config),
  )


def checkpoint_steps(config: config_lib.RunConfig) -> list[int]:
  """Returns the learner steps of the run's checkpoints, ascending."""
  folder = run_folder.checkpoints(config.folder)
  return checkpointing.Checkpointer(folder).steps()


def load_policy(
  config: config_lib.RunConfig,
  spec: specs.EnvironmentSpec,
  learner_step: int | None = None,
) -> tuple[Callable[..., Any], types.Params, int]:
  """Returns the evaluation policy, its params and the learner steps behind it.

  Args:
    config: of the run.
    spec: of its environment.
    learner_step: see `policies.load_policy`.

  Raises:
    AnotherRunError: the folder's policies are of another agent or environment.
    FileNotFoundError: the run has no checkpoint yet, or not this one.
    DamagedError: none is whole, or not this one.
  """
  run_folder.check_policy(config, spec)
  act, params, _, step = policies.restore(
    config.folder, config.builder, spec, learner_step
  )
  return act, params, step


def load_state(
  config: config_lib.RunConfig, networks: Any, learner_step: int | None = None
) -> tuple[Any, int]:
  """Returns the algorithm's training state and the learner steps behind it.

  Args:
    config: of the run.
    networks: its agent's.
    learner_step: of a checkpoint; None for the last one.

  Raises:
    FileNotFoundError: the run has no checkpoint yet, or not this one.
    DamagedError: none is whole, or not this one.
  """
  like = policies.state_like(config.builder, networks)
  return policies.restore_state(config.folder, like, learner_step)
