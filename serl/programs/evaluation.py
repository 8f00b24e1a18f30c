"""Return and success over some episodes by a policy that does not explore."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import json
import math
import pathlib

from absl import logging
import dm_env
import jax
import numpy as np

from serl import environment_loop
from serl import specs
from serl import types
from serl.agents import actors
from serl.agents import builder
from serl.environments.wrappers import alternating
from serl.environments.wrappers import cycle_time
from serl.environments.wrappers import video
from serl.programs import config as config_lib
from serl.programs import run_folder
from serl.programs import training
from serl.programs import watchdog
from serl.utils import checkpointing

# Apart from those of the actors, the evaluator and the run's report.
_SEED_OFFSET = 30_000
_CYCLE = ('cycle_steps', 'cycle_s')
_SCORED = ('successes', 'episodes', 'episode_return')  # of a sweep, by `_score`
_EPISODES = 'evaluation episodes'  # in each `outcome`


class NoSuccessError(ValueError):
  """A run is to end by successes, of a task that defines none."""


@dataclasses.dataclass
class _Held:
  """Parameters that stay the same until they are replaced."""

  params: types.Params = None

  def update(self) -> None:
    """Nothing arrives during a sweep."""

  def metrics(self) -> dict[str, float]:
    """Nothing to tell: they are as old as the sweep."""
    return {}


class Evaluation:
  """Sweeps of episodes, each with the parameters it is given."""

  def __init__(
    self,
    environment: dm_env.Environment,
    policy: builder.Policy,
    fault_limit_s: float | None = None,
    on_fault: Callable[..., None] = lambda faults: None,
  ):
    """Initialises the evaluation.

    Args:
      environment: one that defines success reports it in `episode_metrics` of
        each episode: 'success', 0 or 1.
      policy: of `Builder.make_policy(..., evaluation=True)`.
      fault_limit_s: see `EnvironmentLoop`.
      on_fault: likewise.
    """
    self._held = _Held()
    actor = actors.FeedForwardActor(
      policy,
      jax.random.PRNGKey(0),
      self._held,
      action_spec=environment.action_spec(),
    )
    environment = cycle_time.CycleTime(environment)
    self._loop = environment_loop.EnvironmentLoop(
      environment, actor, on_fault=on_fault, fault_limit_s=fault_limit_s
    )

  def run_episode(
    self,
    params: types.Params,
    should_stop: Callable[[], bool] = lambda: False,
  ) -> dict[str, float] | None:
    """Returns the metrics of an episode; None if it was stopped."""
    self._held.params = params
    return self._loop.run_episode(should_stop)

  def sweep(
    self,
    params: types.Params,
    episodes: int,
    should_stop: Callable[[], bool] = lambda: False,
  ) -> dict[str, float] | None:
    """Runs `episodes` episodes.

    Returns:
      What `summarize` does; None if it was stopped.
    """
    runs = []
    for _ in range(episodes):
      metrics = self.run_episode(params, should_stop)
      if metrics is None:
        return None
      runs.append(metrics)
    return summarize(runs)


def summarize(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Summarises episodes.

  Args:
    runs: the metrics of each; at least one.

  Returns:
    'episodes', the mean 'episode_return' and 'episode_length'. Where the task
    defines success 'successes' (their count) and 'success' (their rate), and of
    those that succeeded, if any did, the mean 'cycle_steps' and 'cycle_s' until
    then (see `CycleTime`).
  """
  successes = {}
  if any('success' in run for run in runs):
    count = sum(run.get('success', 0.0) for run in runs)
    successes = {'successes': count, 'success': count / len(runs)}
  return {
    'episodes': len(runs),
    **successes,
    **{
      name: float(np.mean([run[name] for run in runs if name in run]))
      for name in ('episode_return', 'episode_length', *_CYCLE)
      if any(name in run for run in runs)
    },
  }


def outcome(found: Mapping[str, float]) -> str:
  """Returns a sweep as text: its successes beside its return.

  Args:
    found: of `summarize`.
  """
  episodes, mean = found['episodes'], found['episode_return']
  if 'successes' not in found:
    return (
      f'mean return {mean:.4g} in {episodes:.0f} {_EPISODES}, no success '
      'defined'
    )
  return (
    f'{found["successes"]:.0f} of {episodes:.0f} {_EPISODES} succeeded, mean '
    f'return {mean:.4g}'
  )


def is_goal(reason: str) -> bool:
  """Returns whether a run ended for a reason of `goal_reached`."""
  return _EPISODES in reason


def goal_reached(
  config: config_lib.RunConfig, found: Mapping[str, float]
) -> str:
  """Returns the outcome of a sweep that a run is to end by, '' of another.

  Args:
    config: of the run.
    found: of `summarize`.

  Raises:
    NoSuccessError: see `check_success`.
  """
  check_success(config, found)
  enough, wanted = config.stop_at_successes, config.stop_at_return
  reached = enough is not None and found['successes'] >= enough
  reached |= wanted is not None and found['episode_return'] >= wanted
  return outcome(found) if reached else ''


def check_success(
  config: config_lib.RunConfig, metrics: Mapping[str, float]
) -> None:
  """Checks that a run which is to end by successes can have any.

  Args:
    config: of the run.
    metrics: of one of its episodes, or of a sweep.

  Raises:
    NoSuccessError: it cannot.
  """
  wanted = config.stop_at_successes
  if wanted is not None and config.evaluate and 'success' not in metrics:
    raise NoSuccessError(
      f'stop_at_successes is {wanted}, but the task defines no success: its '
      "episodes report no 'success', 0 or 1, in episode_metrics(). Expected "
      'None (--nostop-at-success); stop_at_return (--stop-at-return) ends a '
      'run by its return.'
    )


def take_turns(
  environment: alternating.Alternating,
  run_episode: Mapping[str, Callable[[], dict[str, float]]],
  episodes: int,
) -> dict[str, list[dict[str, float]]]:
  """Runs tasks in turns until there are `episodes` of each.

  What one task does not bring about, another cannot begin with. So the turns
  end early when a task that has its episodes has no success any more.

  Args:
    environment: that all of them act in.
    run_episode: runs one episode of a task there, by their names.
    episodes: of each task. Those beyond only serve the others, and a try that
      succeeds is not counted: it may have begun at its end.

  Returns:
    The metrics of each task's episodes, at most `episodes`.
  """
  runs: dict[str, list[dict[str, float]]] = {task: [] for task in run_episode}
  while min(map(len, runs.values())) < episodes:
    task, is_try = environment.next_task, environment.next_is_try
    found = run_episode[task]()
    if is_try and found.get('success'):
      continue
    if len(runs[task]) < episodes:
      runs[task].append(found)
    elif environment.next_is_try:
      logging.warning(
        '%s has no success any more that another task could begin with: the '
        'turns end, after %s of %d episodes.',
        task,
        {name: len(metrics) for name, metrics in runs.items()},
        episodes,
      )
      break
  return runs


class BestPolicy:
  """Keeps the policy that did best in a sweep of the run.

  A policy that learns still fluctuates: the last one may well be worse.
  """

  def __init__(self, folder: pathlib.Path):
    """Goes on from the best policy that the folder holds.

    Args:
      folder: of the run.
    """
    self._checkpointer = checkpointing.Checkpointer(
      run_folder.best_policy(folder), keep=1
    )
    self._saved = max(self._checkpointer.steps(), default=0)
    self._best = 0.0, -math.inf
    try:
      kept = self._checkpointer.latest_counters()
    except checkpointing.DamagedError as error:
      logging.error('%s The next sweep replaces it.', error)
    else:
      self._best = self._best if kept is None else _score(kept)

  def offer(
    self, params: types.Params, learner_steps: int, found: Mapping[str, float]
  ) -> None:
    """Keeps a policy if its sweep is the best: by success, then by return.

    Args:
      params: of the policy.
      learner_steps: the rounds behind them.
      found: of `Evaluation.sweep`.
    """
    if _score(found) <= self._best:
      return
    # Numbered apart from learner steps: one that was restored from an older
    # checkpoint may do better with fewer.
    self._saved += 1
    self._checkpointer.save(
      self._saved,
      params,
      {
        'learner_steps': learner_steps,
        **{name: found[name] for name in _SCORED if name in found},
      },
    )
    self._best = _score(found)


def _score(found: Mapping[str, float]) -> tuple[float, float]:
  # The rate: a resumed run may have other sweeps. Without successes it is the
  # return that counts.
  rate = found.get('successes', 0.0) / found['episodes']
  # Older versions kept no return: a sweep as successful is better then.
  return rate, found.get('episode_return', -math.inf)


@dataclasses.dataclass(frozen=True)
class Report:
  """What a checkpoint can do."""

  run_dir: pathlib.Path
  learner_steps: int  # of the checkpoint
  episodes: int
  successes: int | None  # None where the task defines no success
  success: float | None  # their rate
  success_interval: tuple[float, float] | None  # of 95 %, Wilson's
  episode_return: float  # mean
  cycle_steps: float | None  # mean until success; None if none succeeded
  cycle_s: float | None
  file: pathlib.Path  # this report as JSON
  video: pathlib.Path | None

  def __str__(self) -> str:
    lines = [
      f'Checkpoint:      learner step {self.learner_steps:,} of {self.run_dir}',
      *self._describe_success(),
      f'Return:          {self.episode_return:.2f}, the mean of '
      f'{self.episodes} episodes',
      f'Report:          {self.file}',
    ]
    if self.video is not None:
      lines.append(f'Video:           {self.video}')
    return '\n'.join(lines)

  def _describe_success(self) -> list[str]:
    if self.successes is None:
      return ['Success:         none defined by the task']
    low, high = self.success_interval
    cycle = 'none: no episode succeeded'
    if self.cycle_steps is not None:
      cycle = f'{self.cycle_steps:.1f} steps until success'
      if self.cycle_s is not None:
        cycle += f', {self.cycle_s:.2f} s'
    return [
      f'Success:         {self.successes} of {self.episodes}, '
      f'{self.success:.0%} (95 % interval {low:.0%} to {high:.0%})',
      f'Cycle time:      {cycle}',
    ]


def evaluate(
  config: config_lib.RunConfig,
  episodes: int = 20,
  learner_step: int | None = None,
  film: bool = False,
) -> Report:
  """Evaluates a checkpoint of a run in episodes that it has not seen.

  Writes evaluations/STEP.json in the run's folder, and with `film` STEP.mp4.

  Args:
    config: of the run.
    episodes: to run.
    learner_step: of the checkpoint; None for the best policy, or the last one
      where no sweep was made.
    film: whether to film the episodes.

  Raises:
    AnotherRunError: the folder's checkpoints are of another agent or
      environment, or there is no run.
    FileNotFoundError: there is no such checkpoint.
  """
  _check_episodes(episodes)
  with contextlib.ExitStack() as stack:
    guard = stack.enter_context(
      watchdog.Watchdog('evaluation', config.call_limits)
    )
    environment = guard.make(
      config.make_environment, config.seed + _SEED_OFFSET
    )
    stack.callback(environment.close)
    candidate = _Candidate(config, environment, learner_step, film)
    stack.callback(candidate.close)
    return candidate.report([candidate.run_episode() for _ in range(episodes)])


def evaluate_in_turns(
  config: config_lib.AlternatingRuns,
  episodes: int = 20,
  learner_steps: Mapping[str, int] | None = None,
  film: bool = False,
) -> dict[str, Report]:
  """Evaluates a checkpoint of each of the runs that alternate, see `evaluate`.

  Where the runs evaluate, each does it in an environment of its own. Else there
  is one robot, on which they take turns as in training: nobody resets it.

  Args:
    config: of the runs.
    episodes: of each task; there are fewer if another task stops succeeding.
    learner_steps: of the checkpoints by their tasks; without one as `evaluate`.
    film: whether to film the episodes.

  Returns:
    The reports by their tasks, of those that had an episode.
  """
  _check_episodes(episodes)
  steps = learner_steps or {}
  runs = config.runs
  if all(run.evaluate for run in runs.values()):
    return {
      task: evaluate(run, episodes, steps.get(task), film)
      for task, run in runs.items()
    }
  seed = next(iter(runs.values())).seed + _SEED_OFFSET
  with contextlib.ExitStack() as stack:
    limits = next(iter(runs.values())).call_limits
    guard = stack.enter_context(watchdog.Watchdog('evaluation', limits))
    environment = guard.make(config.make_environment, seed)
    stack.callback(environment.close)
    candidates = {}
    for task, run in runs.items():
      candidates[task] = _Candidate(run, environment, steps.get(task), film)
      stack.callback(candidates[task].close)
    found = take_turns(
      environment,
      {task: one.run_episode for task, one in candidates.items()},
      episodes,
    )
    return {
      task: candidates[task].report(metrics)
      for task, metrics in found.items()
      if metrics
    }


def _check_episodes(episodes: int) -> None:
  if episodes < 1:
    raise ValueError(f'episodes is {episodes!r}, expected at least 1.')


class _Candidate:
  """A checkpoint that is evaluated."""

  def __init__(
    self,
    config: config_lib.RunConfig,
    environment: dm_env.Environment,
    learner_step: int | None,
    film: bool,
  ):
    spec = specs.make_environment_spec(environment)
    policy, self._params, self._step = training.load_policy(
      config, spec, learner_step
    )
    self._run_dir = config.folder
    folder = run_folder.evaluations(config.folder)
    folder.mkdir(exist_ok=True)
    self._file = folder / f'{self._step}.json'
    self._video = self._file.with_suffix('.mp4') if film else None
    self._environment = environment
    if self._video is not None:
      self._environment = video.VideoRecorder(environment, self._video)
    self._evaluation = Evaluation(
      self._environment, policy, config.fault_limit_s
    )

  def run_episode(self) -> dict[str, float]:
    """Returns the metrics of an episode."""
    return self._evaluation.run_episode(self._params)

  def report(self, runs: Sequence[Mapping[str, float]]) -> Report:
    """Writes and returns what came of episodes."""
    found = summarize(runs)
    successes = interval = None
    if 'successes' in found:
      successes = int(found['successes'])
      interval = wilson_interval(successes, found['episodes'])
    report = Report(
      run_dir=self._run_dir,
      learner_steps=self._step,
      episodes=found['episodes'],
      successes=successes,
      success=found.get('success'),
      success_interval=interval,
      episode_return=found['episode_return'],
      **{name: found.get(name) for name in _CYCLE},
      file=self._file,
      video=self._video,
    )
    text = json.dumps(dataclasses.asdict(report), indent=2, default=str)
    self._file.write_text(text + '\n')
    return report

  def close(self) -> None:
    """Finishes the film, and closes the environment."""
    self._environment.close()


def wilson_interval(
  successes: int, episodes: int, confidence: float = 0.95
) -> tuple[float, float]:
  """Returns the interval that a success rate lies in; Wilson (1927).

  Unlike the normal approximation it is sound for few episodes and for rates
  next to 0 and 1.

  Args:
    successes: that were counted.
    episodes: of which.
    confidence: that the rate lies inside.
  """
  # Slow to import, and of no use in a training run.
  from scipy import stats

  interval = stats.binomtest(successes, episodes).proportion_ci(
    confidence, method='wilson'
  )
  return float(interval.low), float(interval.high)
