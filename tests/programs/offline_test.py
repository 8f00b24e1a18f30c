"""Tests of offline."""

import dataclasses
import signal
import time

import jax
import numpy as np
import pytest

from serl import programs
from serl.agents import bc
from serl.agents.sac import builder as sac_builder
from serl.programs import offline
from serl.programs import run_folder
from serl.programs import training
from serl.testing import fakes
from serl.utils import loggers
from tests.programs.distributed import fake_run

AGENT = bc.BCConfig(batch_size=8, hidden_sizes=(8,), gripper=(1,))


def _episode(seed):
  """An episode whose gripper closes in its middle."""
  episode = fakes.make_episode(fake_run.SPEC, seed=seed)
  episode.action[:, 1] = np.where(np.arange(10) < 5, -1, 1)
  return episode


EPISODES = [_episode(seed) for seed in range(10)]


def _config(folder, agent=AGENT, **overrides):
  config = fake_run.make_config(folder, success=overrides.pop('success', 0.0))
  fields = {
    'max_learner_steps': 30,
    'held_out_fraction': 0.2,
    'evaluate': False,
    'demonstrations': EPISODES,
    **overrides,
  }
  return dataclasses.replace(config, builder=bc.BCBuilder(agent), **fields)


def test_split_is_by_episode_and_stays_when_more_are_recorded():
  for fraction, held_out in (
    (0.0, []),
    (0.1, [9, 19]),
    (0.25, [3, 7, 11, 15, 19]),
  ):
    expected = [i for i in range(20) if i not in held_out]
    assert offline.split(list(range(20)), fraction) == (expected, held_out)
    train, held = offline.split(list(range(12)), fraction)
    assert train == [i for i in expected if i < 12]
    assert held == [i for i in held_out if i < 12]


def test_tells_when_there_are_too_few_to_hold_one_out(tmp_path, caplog):
  programs.run_offline(_config(tmp_path / 'run', demonstrations=EPISODES[:4]))
  assert 'No episode is held out of 4' in caplog.text
  assert 'Record 5 or more' in caplog.text


def test_trains_and_measures_both_parts(tmp_path):
  agent = dataclasses.replace(AGENT, learning_rate=1e-2)
  config = _config(tmp_path / 'run', agent, log_period_s=1e-9)
  summary = programs.run_offline(config)
  assert (summary.learner_steps, summary.env_steps) == (30, 0)
  assert str(summary).startswith('Ended: the limit of 30 learner steps.')
  assert summary.curve.exists()
  records = loggers.read_metrics(tmp_path / 'run', 'learner')
  sizes = [r['demonstrations_size'] for r in records if 'loss' in r]
  assert sizes[-1] == 80  # of 100: two episodes are held out
  for part in ('training', 'held_out'):
    for table in ('demonstrations', 'gripper_events'):
      name = f'{part}/{table}/loss'
      losses = [record[name] for record in records if name in record]
      assert losses[-1] < losses[0]


def test_what_is_held_out_is_not_trained_with(tmp_path):
  # In the same place, the held-out episodes say the opposite.
  def say(value, seed):
    episode = _episode(seed)
    observation = {name: 0 * x for name, x in episode.observation.items()}
    return episode._replace(
      observation=observation, action=np.full_like(episode.action, value)
    )

  episodes = [say(0.9 if i in (4, 9) else -0.9, i) for i in range(10)]
  agent = dataclasses.replace(AGENT, gripper=(), learning_rate=1e-2)
  config = _config(
    tmp_path / 'run', agent, demonstrations=episodes, max_learner_steps=200
  )
  programs.run_offline(config)
  last = {}
  for record in loggers.read_metrics(tmp_path / 'run', 'learner'):
    last.update(record)
  assert last['training/demonstrations/movement_error'] < 0.1
  assert last['held_out/demonstrations/movement_error'] > 1.7


def test_goes_on_from_its_checkpoint(tmp_path):
  folder = tmp_path / 'run'
  programs.run_offline(_config(folder))
  resumed = training.Training(_config(folder), fake_run.SPEC, iter([]), None)
  first = jax.device_get(resumed.learner_state)
  assert resumed.learner_steps == 30
  summary = programs.run_offline(_config(folder, max_learner_steps=50))
  assert summary.learner_steps == 50
  assert first.optimiser[0].count == 30
  resumed = training.Training(_config(folder), fake_run.SPEC, iter([]), None)
  assert resumed.learner_state.optimiser[0].count == 50


def test_another_configuration_is_refused(tmp_path):
  programs.run_offline(_config(tmp_path / 'run'))
  for changed, name in (
    (
      _config(tmp_path / 'run', dataclasses.replace(AGENT, batch_size=16)),
      'batch_size',
    ),
    (_config(tmp_path / 'run', held_out_fraction=0.5), 'held_out_fraction'),
  ):
    with pytest.raises(run_folder.AnotherRunError, match=name):
      programs.run_offline(changed)


def test_ends_when_an_evaluation_succeeded(tmp_path):
  config = _config(
    tmp_path / 'run',
    evaluate=True,
    success=1.0,
    evaluation_period_s=1e-9,
    max_learner_steps=1000,
  )
  summary = programs.run_offline(config)
  assert summary.learner_steps < 1000
  assert '3 of 3 evaluation episodes succeeded' in str(summary)


def test_needs_no_environment(tmp_path):
  def no_environment(seed):
    raise AssertionError('asked for an environment')

  config = dataclasses.replace(
    _config(tmp_path / 'run'),
    make_environment=no_environment,
    environment_spec=fake_run.SPEC,
  )
  assert programs.run_offline(config).learner_steps == 30


def test_demonstrations_in_which_the_gripper_rests_are_refused(tmp_path):
  resting = [
    episode._replace(action=np.zeros_like(episode.action))
    for episode in EPISODES
  ]
  config = _config(tmp_path / 'run', demonstrations=resting)
  with pytest.raises(ValueError, match=r"None of the 8 .* 'gripper_events'"):
    programs.run_offline(config)


def _two(folder, **overrides):
  runs = {t: _config(folder / t, **overrides) for t in ('there', 'back')}
  return programs.AlternatingRuns(
    run_dir=folder, runs=runs, make_environment=fake_run.take_turns
  )


def test_runs_that_alternate_are_trained_one_after_the_other(tmp_path):
  config = _two(tmp_path, max_learner_steps=3)
  summaries = programs.run_offline(config)
  assert list(summaries) == ['there', 'back']
  assert [s.learner_steps for s in summaries.values()] == [3, 3]
  with pytest.raises(ValueError, match='run_offline'):
    programs.run_local(config)
  # On one robot they are evaluated in turns all the same.
  reports = programs.evaluate_in_turns(config, episodes=1)
  assert [report.successes for report in reports.values()] == [1, 1]


def test_after_an_interruption_no_other_run_is_begun(tmp_path, monkeypatch):
  step = training.Training.step

  def interrupted(self, env_steps, sizes):
    signal.raise_signal(signal.SIGINT)
    step(self, env_steps, sizes)

  monkeypatch.setattr(training.Training, 'step', interrupted)
  summaries = programs.run_offline(_two(tmp_path))
  assert list(summaries) == ['there']
  # The step that was under way is whole, and kept.
  assert summaries['there'].learner_steps == 1


def test_each_agent_has_its_program(tmp_path):
  config = _config(tmp_path / 'run')
  with pytest.raises(ValueError, match=r'programs\.run_offline'):
    programs.run_local(config)
  acting = dataclasses.replace(config, builder=sac_builder.SACBuilder())
  with pytest.raises(ValueError, match="'replay', which actors fill"):
    programs.run_offline(acting)


def test_minutes_are_kept_amid_a_sweep(tmp_path):
  class Endless(fakes.FakeEnvironment):
    """Each episode but the last evaluation's takes very long."""

    def __init__(self, seed):
      super().__init__(fake_run.SPEC, 10**9, seed)

    def step(self, action):
      time.sleep(0.01)
      if time.monotonic() - begun > 3 * limit_s:
        self._episode_length = self._step + 1
      return super().step(action)

  limit_s, begun = 2.0, time.monotonic()
  config = _config(
    tmp_path / 'run',
    max_learner_steps=10**9,
    evaluate=True,
    evaluation_period_s=0.1,
    time_limit_s=limit_s,
    stop_at_successes=None,
  )
  config = dataclasses.replace(
    config, make_environment=Endless, environment_spec=fake_run.SPEC
  )
  summary = programs.run_offline(config)
  assert summary.reason == 'the limit of 0.0333333 min'
  assert summary.is_success
  # Of the end alone: those before were not finished.
  assert len(loggers.read_metrics(config.folder, 'evaluator')) == 1


def test_an_interrupted_run_is_not_evaluated(tmp_path, monkeypatch):
  step = training.Training.step

  def interrupted(self, env_steps, sizes):
    step(self, env_steps, sizes)
    signal.raise_signal(signal.SIGINT)

  monkeypatch.setattr(training.Training, 'step', interrupted)
  config = _config(tmp_path / 'run', evaluate=True, evaluation_period_s=1000.0)
  summary = programs.run_offline(config)
  assert summary.reason.startswith('interrupted')
  assert (summary.successes, summary.video) == (None, None)
  assert loggers.read_metrics(config.folder, 'evaluator') == []
