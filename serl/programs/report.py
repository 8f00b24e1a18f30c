"""What a run leaves for a human: last evaluation, curve, video, summary."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
import traceback
from typing import Any

from serl import specs
from serl.environments.wrappers import video
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs import ratio as ratio_lib
from serl.programs import run_folder
from serl.programs import time_limit
from serl.programs import training
from serl.programs import watchdog
from serl.utils import loggers
from serl.utils import plotting

# Part of the updates an environment step that were asked for, below which the
# ratio counts as missed. Those that an actor does not wait for may be due.
_RATIO_KEPT = 0.8
INTERRUPTED = 'interrupted; the same command goes on'  # why a run ended

_FINAL_SEED_OFFSET = 20_000  # apart from the actors' and the evaluator's


@dataclasses.dataclass(frozen=True)
class Summary:
  """What came of a run."""

  run_dir: pathlib.Path
  reason: str  # why it ended
  learner_steps: int
  env_steps: int
  elapsed_s: float
  # Of the best policy; None if not evaluated, or the task defines no success.
  successes: int | None
  episodes: int
  curve: pathlib.Path
  video: pathlib.Path | None
  no_video: str = ''  # why there is none
  damaged_episodes: int = 0  # that were set aside, over all launches
  # What the learner's estimates were like that no return can be, if they were.
  divergence: str = ''
  # How many updates were missed, if they were.
  shortfall: str = ''
  problems: tuple[str, ...] = ()  # why the run is no success; none if it is one
  episode_return: float | None = None  # the best policy's mean, if evaluated

  @property
  def is_success(self) -> bool:
    """Whether the run did what was asked for."""
    return not self.problems

  def __str__(self) -> str:
    lines = [
      f'Ended: {self.reason}.',
      f'{self.env_steps:,} environment steps, {self.learner_steps:,} learner '
      f'steps, {self.elapsed_s / 60:.1f} min.',
      f'Run folder:      {self.run_dir}',
      f'Learning curve:  {self.curve}',
      f'Video:           {self.video or "none: " + self.no_video}',
    ]
    if self.damaged_episodes:
      lines.append(
        f'Damaged:         {self.damaged_episodes} episodes, set aside in '
        f'{self.run_dir / "damaged"}'
      )
    if self.successes is not None:
      lines.append(
        f'The best policy succeeded in {self.successes} of {self.episodes} new '
        f'episodes, mean return {self.episode_return:.4g}.'
      )
    elif self.episode_return is not None:
      lines.append(
        f'The best policy had a mean return of {self.episode_return:.4g} in '
        f'{self.episodes} new episodes; the task defines no success.'
      )
    if self.divergence:
      lines.append(f'WARNING: {self.divergence}.')
    if self.shortfall and self.shortfall not in self.problems:
      lines.append(f'Reached all the same: {self.shortfall}.')
    if self.problems:
      lines.append(f'Not a success: {"; ".join(self.problems)}.')
    return '\n'.join(lines)


def make_report(
  config: config_lib.RunConfig,
  spec: specs.EnvironmentSpec,
  reason: str,
  launched: float = 0.0,
) -> Summary:
  """Draws the run's curve, evaluates its best policy, films an episode.

  A run that was interrupted is neither evaluated nor filmed: its user waits.

  Args:
    config: of the run, which has ended.
    spec: of its environment.
    reason: why it ended.
    launched: unix time of the launch that has ended.
  """
  folder = config.folder
  curve = folder / 'learning_curve.png'
  plotting.learning_curve([folder], curve)
  learner = loggers.read_metrics(folder, 'learner')
  found, film, no_video = {}, None, 'the run evaluates nothing'
  if reason == INTERRUPTED:
    no_video = 'the run was interrupted'
  elif config.evaluate:
    found, film, no_video = _evaluate(config, spec)
  last = learner[-1] if learner else {}
  diverged = [r for r in learner if r.get('divergence')]
  summary = Summary(
    run_dir=folder,
    reason=reason,
    learner_steps=int(last.get('learner_steps', 0)),
    env_steps=int(last.get('env_steps', 0)),
    elapsed_s=loggers.last_elapsed(folder),
    successes=int(found['successes']) if 'successes' in found else None,
    episode_return=found.get('episode_return'),
    episodes=config.evaluation_episodes,
    curve=curve,
    video=film,
    no_video=no_video,
    damaged_episodes=run_folder.damaged_episodes(folder),
    divergence=_divergence(diverged),
    shortfall=_shortfall(config, learner, launched),
    problems=_problems(config, reason, learner, launched),
  )
  described = {**dataclasses.asdict(summary), 'success': summary.is_success}
  (folder / 'summary.json').write_text(
    json.dumps(described, indent=2, default=str) + '\n'
  )
  return summary


def _evaluate(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> tuple[dict[str, float], pathlib.Path | None, str]:
  """Evaluates the best policy; returns its sweep and what `_film` does."""
  policy, params, _ = training.load_policy(config, spec)
  with watchdog.Watchdog('report', config.call_limits) as guard:
    environment = guard.make(
      config.make_environment, config.seed + _FINAL_SEED_OFFSET
    )
    try:
      sweeps = evaluation.Evaluation(environment, policy, config.fault_limit_s)
      found = sweeps.sweep(params, config.evaluation_episodes)
      return found, *_film(config, policy, params, guard)
    finally:
      environment.close()


def _divergence(records: Sequence[Mapping[str, Any]]) -> str:
  """Returns what the records in which a learner diverged have in common."""
  if not records:
    return ''
  steps = f'learner step {records[0]["learner_steps"]:,.0f}'
  if len(records) > 1:
    steps += f' to {records[-1]["learner_steps"]:,.0f}'
  return f'{steps}: {records[-1]["divergence"]}'


def _problems(
  config: config_lib.RunConfig,
  reason: str,
  learner: Sequence[Mapping[str, Any]],
  launched: float = 0.0,
) -> tuple[str, ...]:
  """Returns why a run is no success.

  Args:
    config: of the run.
    reason: why it ended.
    learner: the metrics of its learner.
    launched: unix time.
  """
  if reason == INTERRUPTED:
    return ()
  last = learner[-1] if learner else {}
  problems = []
  if not last.get('learner_steps') or reason.startswith(time_limit.NO_UPDATE):
    problems.append('nothing was learned: the learner has made no update')
  elif not evaluation.is_goal(reason):
    # A run that has come to its goal needed no more updates.
    problems.extend(filter(None, [_shortfall(config, learner, launched)]))
  if last.get('divergence'):
    problems.append(f'at its end {last["divergence"]}')
  return tuple(problems)


def _shortfall(
  config: config_lib.RunConfig,
  learner: Sequence[Mapping[str, Any]],
  launched: float,
) -> str:
  """Returns how many updates were missed; nothing if few or none were."""
  if config.offline or not learner or not learner[-1].get('learner_steps'):
    return ''
  if _keeps_ratio(config, learner, launched):
    return ''
  last = learner[-1]
  return (
    f'{last["updates_per_step"]:.2f} updates per environment step were made '
    f'of the {last["updates_per_step_asked"]:.2f} asked, expected '
    f'{_RATIO_KEPT:.0%} of them at least: make the robot slower '
    '(--steps-per-second), ask for fewer (--updates-per-step), or give the '
    'learner a faster machine'
  )


def _keeps_ratio(
  config: config_lib.RunConfig,
  learner: Sequence[Mapping[str, Any]],
  launched: float,
) -> bool:
  """Returns whether the updates that were due have been made.

  Either over the run, or since the first record of the launch: after a resume
  steps of earlier launches come in.
  """
  ratio = training.make_ratio(config)
  last = learner[-1]
  first = next((r for r in learner if r.get('time', 0.0) >= launched), last)
  may_be_due = sum(map(ratio_lib.lead, _longest_episodes(config)))
  start = {'env_steps': ratio.start_step, 'learner_steps': -1}  # one is begun

  def keeps(since: Mapping[str, Any]) -> bool:
    steps = last['env_steps'] - since['env_steps']
    rounds = last['learner_steps'] - since['learner_steps']
    due = _RATIO_KEPT * (steps - may_be_due)
    return rounds * ratio.updates_per_round >= ratio.asked * due

  return keeps(start) or keeps(first)


def _longest_episodes(config: config_lib.RunConfig) -> list[int]:
  """Returns the steps of the longest episode of each actor, as far as known."""
  return [
    max(
      (
        int(record.get('episode_length', 0))
        for record in loggers.read_metrics(config.folder, f'actor_{index}')
      ),
      default=0,
    )
    for index in range(config.num_actors)
  ]


def _film(
  config: config_lib.RunConfig, policy, params, guard: watchdog.Watchdog
) -> tuple[pathlib.Path | None, str]:
  """Returns the video of an episode, or why there is none."""
  path = config.folder / 'evaluation.mp4'
  environment = guard.make(
    config.make_environment, config.seed + _FINAL_SEED_OFFSET
  )
  try:
    environment = video.VideoRecorder(environment, path)
    evaluation.Evaluation(environment, policy).sweep(params, 1)
  # Pictures need a driver, a codec and an environment that has them: whatever
  # is missing, the run has ended well and only its video is not there.
  except Exception as error:  # noqa: BLE001
    log = run_folder.log(config.folder, 'video')
    log.parent.mkdir(exist_ok=True)
    log.write_text(traceback.format_exc())
    path.unlink(missing_ok=True)
    return None, f'{(str(error) or repr(error)).splitlines()[0]} (see {log})'
  finally:
    environment.close()
  return path, ''
