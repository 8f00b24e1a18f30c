import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from serl import programs
from serl.agents import bc
from serl.demos import log as log_lib
from serl.programs import interventions
from serl.programs import training
from serl.testing import fakes
from tests.programs.distributed import fake_run


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The config of a run in which a person intervened."""
  config = fake_run.make_config(
    tmp_path_factory.mktemp('runs') / 'run',
    max_env_steps=30,
    steps_per_second=None,
    evaluate=False,
    person=True,
  )
  programs.run_local(config)
  return config


def _advantages(config, episodes):
  """Returns those of the corrected steps of each episode, by the networks."""
  networks = config.builder.make_networks(fake_run.SPEC)
  params = training.load_state(config, networks)[0].params

  @jax.jit
  def compare(observation, action):
    embedding = networks.encoder.apply(params.critic.encoder, observation)
    preferred = networks.policy.apply(params.policy, embedding).mode()
    first, second = (
      networks.critic.apply(params.critic.ensemble, embedding, a)
      for a in (action, preferred)
    )
    return ((first[0] + first[1]) - (second[0] + second[1])) / 2

  for episode in episodes:
    rows = np.flatnonzero(episode.extras['intervened'])
    observation = {k: x[rows] for k, x in episode.observation.items()}
    yield np.asarray(compare(observation, episode.action[rows]))


def test_measures_each_episode(run):
  report = programs.measure_interventions(run)
  assert report.learner_steps == 5
  assert [e.env_steps for e in report.episodes] == [10, 20, 30]
  # The second and the third of every five steps.
  for episode in report.episodes:
    assert (episode.corrected, episode.interventions) == (4, 2)
    assert (episode.rate, episode.length) == (0.4, 2.0)
  log = log_lib.EpisodeLog(run.folder / 'episodes' / 'actor_0', fake_run.SPEC)
  expected = list(_advantages(run, log.episodes()))
  for episode, advantages in zip(report.episodes, expected, strict=True):
    assert episode.advantage == pytest.approx(advantages.mean(), rel=1e-3)
    assert episode.positive == np.mean(advantages > 0)
  overruled, advantage, picture = str(report).splitlines()
  assert '6 in 3 episodes, 2.0 steps each, 40% of all' in overruled
  share = np.mean(np.concatenate(expected) > 0)
  assert f'above 0 in {share:.0%} of 12 steps' in advantage
  assert str(run.folder / 'interventions.png') in picture
  assert report.picture.read_bytes().startswith(b'\x89PNG')
  written = json.loads(report.file.read_text())
  assert written['episodes'][0] == dataclasses.asdict(report.episodes[0])


@pytest.mark.parametrize(
  'tag, counted',
  [
    ([1, 1, 0, 0, 1, 0, 1, 1, 1, 1], (7, 3, 0.7, 7 / 3)),
    ([1] * 10, (10, 1, 1.0, 10.0)),
    ([0] * 10, (0, 0, 0.0, None)),
    (None, (0, 0, 0.0, None)),  # of a launch in which there was nobody
  ],
)
def test_counts_where_each_intervention_begins(tag, counted):
  episode = fakes.make_episode(fake_run.SPEC)
  assert episode.length == 10
  if tag is not None:
    extras = {'intervened': np.array(tag, np.uint8)}
    episode = episode._replace(extras=extras)
  found = interventions._measure_episode(
    episode, 30, lambda episode, steps: steps - 4.0
  )
  assert (found.env_steps, found.steps) == (30, 10)
  assert (
    found.corrected,
    found.interventions,
    found.rate,
    found.length,
  ) == counted
  if not any(tag or ()):
    assert found.advantage is found.positive is None
  else:
    steps = np.flatnonzero(tag)
    assert found.advantage == pytest.approx(steps.mean() - 4)
    assert found.positive == (steps > 4).mean()


def test_a_run_without_a_person_is_named(run, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(run.folder, folder)
  shutil.rmtree(folder / 'episodes')
  with pytest.raises(ValueError, match='nobody could intervene; train it with'):
    programs.measure_interventions(dataclasses.replace(run, run_dir=folder))


def test_an_agent_without_a_critic_is_named(run):
  other = dataclasses.replace(run, builder=bc.BCBuilder())
  with pytest.raises(ValueError, match="'bc' has no critic"):
    programs.measure_interventions(other)
