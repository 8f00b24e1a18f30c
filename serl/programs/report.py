"""What a run leaves for a human: last evaluation, curve, video, summary."""

import dataclasses
import json
import pathlib
import traceback

from serl import specs
from serl.environments.wrappers import video
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs import run_folder
from serl.programs import training
from serl.utils import loggers
from serl.utils import plotting

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
  successes: int | None  # of the best policy; None if not evaluated
  episodes: int
  curve: pathlib.Path
  video: pathlib.Path | None
  no_video: str = ''  # why there is none
  damaged_episodes: int = 0  # that were set aside, over all launches

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
        'episodes.'
      )
    return '\n'.join(lines)


def make_report(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec, reason: str
) -> Summary:
  """Draws the run's curve, evaluates its best policy, films an episode.

  Args:
    config: of the run, which has ended.
    spec: of its environment.
    reason: why it ended.
  """
  folder = config.folder
  curve = folder / 'learning_curve.png'
  plotting.learning_curve([folder], curve)
  policy, params, _ = training.load_policy(config, spec)
  last = (loggers.read_metrics(folder, 'learner') or [{}])[-1]
  successes, film, no_video = None, None, 'the run evaluates nothing'
  if config.evaluate:
    environment = config.make_environment(config.seed + _FINAL_SEED_OFFSET)
    try:
      sweeps = evaluation.Evaluation(environment, policy)
      found = sweeps.sweep(params, config.evaluation_episodes)
      successes = int(found['successes'])
      film, no_video = _film(config, policy, params)
    finally:
      environment.close()
  summary = Summary(
    run_dir=folder,
    reason=reason,
    learner_steps=int(last.get('learner_steps', 0)),
    env_steps=int(last.get('env_steps', 0)),
    elapsed_s=loggers.last_elapsed(folder),
    successes=successes,
    episodes=config.evaluation_episodes,
    curve=curve,
    video=film,
    no_video=no_video,
    damaged_episodes=run_folder.damaged_episodes(folder),
  )
  (folder / 'summary.json').write_text(
    json.dumps(dataclasses.asdict(summary), indent=2, default=str) + '\n'
  )
  return summary


def _film(
  config: config_lib.RunConfig, policy, params
) -> tuple[pathlib.Path | None, str]:
  """Returns the video of an episode, or why there is none."""
  path = config.folder / 'evaluation.mp4'
  environment = config.make_environment(config.seed + _FINAL_SEED_OFFSET)
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
