"""Success over some episodes by a policy that does not explore."""

from collections.abc import Callable, Mapping
import dataclasses
import json
import math
import pathlib

import dm_env
import jax
import numpy as np

from serl import environment_loop
from serl import specs
from serl import types
from serl.agents import actors
from serl.agents import builder
from serl.environments.wrappers import cycle_time
from serl.environments.wrappers import video
from serl.programs import config as config_lib
from serl.programs import run_folder
from serl.programs import training
from serl.utils import checkpointing
from serl.utils import loggers

# Apart from those of the actors, the evaluator and the run's report.
_SEED_OFFSET = 30_000


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

  def __init__(self, environment: dm_env.Environment, policy: builder.Policy):
    """Initialises the evaluation.

    Args:
      environment: may report 'success' in `episode_metrics`.
      policy: of `Builder.make_policy(..., evaluation=True)`.
    """
    self._held = _Held()
    actor = actors.FeedForwardActor(policy, jax.random.PRNGKey(0), self._held)
    environment = cycle_time.CycleTime(environment)
    self._loop = environment_loop.EnvironmentLoop(environment, actor)

  def sweep(
    self,
    params: types.Params,
    episodes: int,
    should_stop: Callable[[], bool] = lambda: False,
  ) -> dict[str, float] | None:
    """Runs `episodes` episodes.

    Returns:
      'episodes', 'successes' (their count), 'success' (their rate), the mean
      'episode_return' and 'episode_length', and of those that succeeded, if any
      did, the mean 'cycle_steps' and 'cycle_s' until then (see `CycleTime`);
      None if it was stopped.
    """
    self._held.params = params
    runs = []
    for _ in range(episodes):
      metrics = self._loop.run_episode(should_stop)
      if metrics is None:
        return None
      runs.append(metrics)
    successes = sum(run.get('success', 0.0) for run in runs)
    return {
      'episodes': episodes,
      'successes': successes,
      'success': successes / episodes,
      **{
        name: float(np.mean([run[name] for run in runs if name in run]))
        for name in (
          'episode_return',
          'episode_length',
          'cycle_steps',
          'cycle_s',
        )
        if any(name in run for run in runs)
      },
    }


class BestPolicy:
  """Keeps the policy that did best in a sweep of the run.

  A policy that learns still fluctuates: the last one may well be worse.
  """

  def __init__(self, folder: pathlib.Path):
    """Goes on from the run's sweeps so far.

    Args:
      folder: of the run.
    """
    self._checkpointer = checkpointing.Checkpointer(
      run_folder.best_policy(folder), keep=1
    )
    self._saved = max(self._checkpointer.steps(), default=0)
    sweeps = loggers.read_metrics(folder, 'evaluator') if self._saved else []
    self._best = max(map(_score, sweeps), default=(0, -math.inf))

  def offer(
    self, params: types.Params, learner_steps: int, found: Mapping[str, float]
  ) -> None:
    """Keeps a policy if its sweep is the best: more successes, then return.

    Args:
      params: of the policy.
      learner_steps: the rounds behind them.
      found: of `Evaluation.sweep`.
    """
    if _score(found) <= self._best:
      return
    self._best = _score(found)
    # Numbered apart from learner steps: one that was restored from an older
    # checkpoint may do better with fewer.
    self._saved += 1
    self._checkpointer.save(
      self._saved,
      params,
      {
        'learner_steps': learner_steps,
        'successes': found['successes'],
        'episodes': found['episodes'],
      },
    )


def _score(found: Mapping[str, float]) -> tuple[float, float]:
  return found['successes'], found['episode_return']


@dataclasses.dataclass(frozen=True)
class Report:
  """What a checkpoint can do."""

  run_dir: pathlib.Path
  learner_steps: int  # of the checkpoint
  episodes: int
  successes: int
  success: float  # their rate
  success_interval: tuple[float, float]  # of 95 %, Wilson's
  episode_return: float  # mean
  cycle_steps: float | None  # mean until success; None if none succeeded
  cycle_s: float | None
  file: pathlib.Path  # this report as JSON
  video: pathlib.Path | None

  def __str__(self) -> str:
    low, high = self.success_interval
    cycle = 'none: no episode succeeded'
    if self.cycle_steps is not None:
      cycle = f'{self.cycle_steps:.1f} steps until success'
      if self.cycle_s is not None:
        cycle += f', {self.cycle_s:.2f} s'
    lines = [
      f'Checkpoint:      learner step {self.learner_steps:,} of {self.run_dir}',
      f'Success:         {self.successes} of {self.episodes}, '
      f'{self.success:.0%} (95 % interval {low:.0%} to {high:.0%})',
      f'Cycle time:      {cycle}',
      f'Return:          {self.episode_return:.2f}',
      f'Report:          {self.file}',
    ]
    if self.video is not None:
      lines.append(f'Video:           {self.video}')
    return '\n'.join(lines)


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
  if episodes < 1:
    raise ValueError(f'episodes is {episodes!r}, expected at least 1.')
  environment = config.make_environment(config.seed + _SEED_OFFSET)
  try:
    spec = specs.make_environment_spec(environment)
    run_folder.check_policy(config, spec)
    policy, params, step = training.load_policy(config, spec, learner_step)
    folder = run_folder.evaluations(config.folder)
    folder.mkdir(exist_ok=True)
    film_path = folder / f'{step}.mp4' if film else None
    if film_path is not None:
      environment = video.VideoRecorder(environment, film_path)
    found = Evaluation(environment, policy).sweep(params, episodes)
  finally:
    environment.close()
  successes = int(found['successes'])
  report = Report(
    run_dir=config.folder,
    learner_steps=step,
    episodes=episodes,
    successes=successes,
    success=found['success'],
    success_interval=wilson_interval(successes, episodes),
    episode_return=found['episode_return'],
    cycle_steps=found.get('cycle_steps'),
    cycle_s=found.get('cycle_s'),
    file=folder / f'{step}.json',
    video=film_path,
  )
  report.file.write_text(
    json.dumps(dataclasses.asdict(report), indent=2, default=str) + '\n'
  )
  return report


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
