"""What the interventions in a run were: how often, how long and how good."""

from collections.abc import Callable
import dataclasses
import json
import os
import pathlib

from absl import logging
import jax
import numpy as np

from serl import specs
from serl import types
from serl.agents import builder as agent_builder
from serl.demos import log as log_lib
from serl.programs import config as config_lib
from serl.programs import run_folder
from serl.programs import training
from serl.teleop import intervention
from serl.utils import plotting

# Where a person intervenes there is no other one.
_ACTOR = 'actor_0'
_ROWS = 64  # of a batch, whose shape is compiled once


@dataclasses.dataclass(frozen=True)
class Episode:
  """One of the run's episodes."""

  env_steps: int  # of the run, at its end
  steps: int
  corrected: int  # steps in which the person acted
  interventions: int
  rate: float  # corrected steps of all
  length: float | None  # mean steps of an intervention; None if there was none
  # How much more than the policy's action the person's is worth, by the
  # critic: the mean over the corrected steps, and the share above 0.
  advantage: float | None
  positive: float | None


@dataclasses.dataclass(frozen=True)
class Report:
  """What a person did in a run."""

  run_dir: pathlib.Path
  learner_steps: int  # of the checkpoint whose critic and policy compare
  episodes: tuple[Episode, ...]
  picture: pathlib.Path
  file: pathlib.Path  # this report as JSON

  def __str__(self) -> str:
    steps = sum(e.steps for e in self.episodes)
    corrected = sum(e.corrected for e in self.episodes)
    count = sum(e.interventions for e in self.episodes)
    half = len(self.episodes) // 2
    rates = [e.rate for e in self.episodes]
    first, last = (
      np.mean(part or rates) for part in (rates[:half], rates[half:])
    )
    overruled = f'{count} in {len(self.episodes)} episodes'
    advantage = 'none: nobody intervened'
    if corrected:
      overruled += (
        f', {corrected / count:.1f} steps each, {corrected / steps:.0%} of all '
        f'(first half {first:.0%}, last half {last:.0%})'
      )
      mean, share = (
        sum(
          e.corrected * getattr(e, field) for e in self.episodes if e.corrected
        )
        / corrected
        for field in ('advantage', 'positive')
      )
      advantage = (
        f'{mean:+.3g} on average, above 0 in {share:.0%} of {corrected} steps, '
        f'by the critic of learner step {self.learner_steps:,}'
      )
    return '\n'.join(
      [
        f'Interventions:   {overruled}',
        f'Advantage:       {advantage}',
        f'Picture:         {self.picture} (figures: {self.file.name})',
      ]
    )


def measure(
  config: config_lib.RunConfig, picture: str | os.PathLike | None = None
) -> Report:
  """Measures a run's interventions, draws them and writes them as JSON.

  The advantage of a corrected step is the critic's estimate for the action that
  the person took, less that for the policy's mode in the same state, both of
  the last checkpoint: what it says of early steps it has learned since.

  Args:
    config: of the run.
    picture: PNG file to draw to, with the JSON beside it; by default
      interventions.png in the run's folder.

  Raises:
    AnotherRunError: the folder is of another agent or environment, or no run.
    FileNotFoundError: it has no checkpoint.
    ValueError: nobody could intervene in the run, or the agent has no critic
      of actions.
  """
  if not isinstance(config.builder, agent_builder.CriticBuilder):
    raise ValueError(
      f'The agent {config.builder.describe()["agent"]!r} has no critic to '
      'compare actions by; expected SAC, DrQ or the hybrid of either, with or '
      'without RLPD.'
    )
  spec = config.make_spec()
  run_folder.check_policy(config, spec)
  log = log_lib.EpisodeLog(
    run_folder.episodes(config.folder, _ACTOR),
    spec,
    # The run may be under way: its files stay where they are.
    on_damage=lambda _, error: logging.error('DAMAGED: left out: %s', error),
  )
  if not any(intervention.TAG in logged.extras for logged in log.episodes()):
    raise ValueError(
      f'In {len(log)} episodes of {config.folder} nobody could intervene; '
      'train it with --intervene=spacemouse, gamepad or keyboard, or on the '
      'twin of an arm with --correct-after=STEPS.'
    )
  compare, learner_steps = _make_comparison(config, spec)
  episodes: list[Episode] = []
  env_steps = 0
  for logged in log.episodes():
    env_steps += logged.length
    episodes.append(_measure_episode(logged, env_steps, compare))
  picture = pathlib.Path(picture or config.folder / 'interventions.png')
  report = Report(
    run_dir=config.folder,
    learner_steps=learner_steps,
    episodes=tuple(episodes),
    picture=picture,
    file=picture.with_suffix('.json'),
  )
  plotting.interventions(_columns(episodes), picture)
  report.file.write_text(
    json.dumps(dataclasses.asdict(report), indent=2, default=str) + '\n'
  )
  return report


def _make_comparison(
  config: config_lib.RunConfig, spec: specs.EnvironmentSpec
) -> tuple[Callable[[types.Episode, np.ndarray], np.ndarray], int]:
  """Returns (episode, its steps [N]) -> advantages [N], and learner steps."""
  builder = config.builder
  networks = builder.make_networks(spec)
  state, learner_steps = training.load_state(config, networks)
  critic = builder.make_critic(networks)
  policy = builder.make_policy(networks, evaluation=True)

  @jax.jit
  def advantage(state, observation, action):
    # The mode draws nothing by the key.
    preferred = jax.vmap(policy, in_axes=(None, None, 0))(
      builder.policy_params(state), jax.random.PRNGKey(0), observation
    )
    return critic(state, observation, action) - critic(
      state, observation, preferred
    )

  def compare(episode: types.Episode, steps: np.ndarray) -> np.ndarray:
    found = [np.zeros(0, np.float32)]
    for begin in range(0, len(steps), _ROWS):
      part = steps[begin : begin + _ROWS]
      rows = np.resize(part, _ROWS)  # repeats them
      observation, action = jax.tree.map(
        lambda column, rows=rows: column[rows],
        (episode.observation, episode.action),
      )
      values = advantage(state, observation, action)
      found.append(np.asarray(values)[: len(part)])
    return np.concatenate(found)

  return compare, learner_steps


def _measure_episode(
  episode: types.Episode,
  env_steps: int,
  compare: Callable[[types.Episode, np.ndarray], np.ndarray],
) -> Episode:
  nobody = np.zeros(episode.length, bool)
  by_person = np.asarray(episode.extras.get(intervention.TAG, nobody), bool)
  begins = by_person & ~np.append(False, by_person[:-1])
  corrected, count = int(by_person.sum()), int(begins.sum())
  advantages = compare(episode, np.flatnonzero(by_person))
  return Episode(
    env_steps=env_steps,
    steps=episode.length,
    corrected=corrected,
    interventions=count,
    rate=corrected / episode.length,
    length=corrected / count if count else None,
    advantage=float(advantages.mean()) if count else None,
    positive=float((advantages > 0).mean()) if count else None,
  )


def _columns(episodes: list[Episode]) -> dict[str, np.ndarray]:
  """Returns what is drawn, a column each, NaN for None."""
  return {
    name: np.array([getattr(e, name) for e in episodes], float)
    for name in ('env_steps', 'rate', 'length', 'advantage', 'positive')
  }
