"""Tests of evaluation."""

import dataclasses
import json
import shutil

import dm_env
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from serl import programs
from serl.demos import files
from serl.environments.wrappers import alternating
from serl.programs import evaluation
from serl.programs import run_folder
from serl.testing import fakes
from serl.utils import checkpointing
from tests.programs.distributed import fake_run


@pytest.mark.parametrize(
  'successes, episodes, low, high',
  [
    # (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n) with
    # z = 1.959964.
    (0, 10, 0.0, 0.2775),
    (18, 20, 0.6990, 0.9721),
    (20, 20, 0.8389, 1.0),
    (50, 100, 0.4038, 0.5962),
  ],
)
def test_wilson_interval(successes, episodes, low, high):
  found = evaluation.wilson_interval(successes, episodes)
  np.testing.assert_allclose(found, (low, high), atol=5e-5)


def test_a_sweep_counts_successes_and_their_time():
  environment = fakes.FakeEnvironment(fake_run.SPEC, seed=1, success=0.5)
  size = fake_run.SPEC.actions.shape
  policy = lambda params, key, observation: jnp.zeros(size)
  found = evaluation.Evaluation(environment, policy).sweep({}, 20)
  assert 0 < found['successes'] < 20
  assert found['success'] == found['successes'] / 20
  assert found['cycle_steps'] == found['episode_length'] == 10
  environment = fakes.FakeEnvironment(fake_run.SPEC, success=0.0)
  found = evaluation.Evaluation(environment, policy).sweep({}, 2)
  assert found['successes'] == 0
  assert 'cycle_steps' not in found


def _sweep_of(**found):
  return {'episodes': 20, 'episode_return': 51.24, **found}


def test_a_sweep_of_a_task_without_success_is_told_by_its_return():
  policy = lambda params, key, observation: jnp.zeros(3)
  environment = fakes.FakeEnvironment(fake_run.SPEC, seed=1)
  found = evaluation.Evaluation(environment, policy).sweep({}, 2)
  assert 'success' not in found and 'successes' not in found
  assert 'no success defined' in evaluation.outcome(found)
  assert evaluation.outcome(_sweep_of()) == (
    'mean return 51.24 in 20 evaluation episodes, no success defined'
  )
  # None of 20 is another matter.
  assert evaluation.outcome(_sweep_of(successes=0.0, success=0.0)) == (
    '0 of 20 evaluation episodes succeeded, mean return 51.24'
  )


@pytest.mark.parametrize(
  'goal, found, is_reached',
  [
    ({'stop_at_successes': 3}, {'successes': 2.0, 'success': 0.1}, False),
    ({'stop_at_successes': 3}, {'successes': 3.0, 'success': 0.15}, True),
    ({'stop_at_return': 51.2}, {}, True),
    ({'stop_at_return': 51.3}, {}, False),
    ({'stop_at_return': 51.2}, {'successes': 0.0, 'success': 0.0}, True),
    ({}, {'successes': 20.0, 'success': 1.0}, False),
  ],
)
def test_a_run_ends_by_its_successes_or_by_its_return(
  tmp_path, goal, found, is_reached
):
  config = fake_run.make_config(
    tmp_path, **{'stop_at_successes': None, 'evaluation_episodes': 20, **goal}
  )
  found = _sweep_of(**found)
  reason = evaluation.goal_reached(config, found)
  assert reason == (evaluation.outcome(found) if is_reached else '')
  assert evaluation.is_goal(reason) == is_reached
  assert not evaluation.is_goal('the limit of 20 environment steps')


def test_successes_of_a_task_that_defines_none_are_no_goal(tmp_path):
  config = fake_run.make_config(tmp_path, evaluation_episodes=20)
  for found in (_sweep_of(), {'episode_return': 1.0}):
    with pytest.raises(
      evaluation.NoSuccessError, match='stop_at_successes is 3, but the task'
    ):
      evaluation.check_success(config, found)
  # Where nothing is evaluated, as on an arm, nothing ends by it.
  config = dataclasses.replace(config, evaluate=False)
  evaluation.check_success(config, _sweep_of())


def test_the_best_policy_of_a_task_without_success_is_that_of_most_return(
  tmp_path,
):
  best = evaluation.BestPolicy(tmp_path)
  for step, mean in ((1, -700.0), (2, -300.0), (3, -500.0)):
    found = {'episodes': 20, 'episode_return': mean}
    best.offer({'w': np.ones(2)}, step, found)
  checkpoints = checkpointing.Checkpointer(run_folder.best_policy(tmp_path))
  assert checkpoints.latest_counters()['learner_steps'] == 2
  # Also after a resume.
  best = evaluation.BestPolicy(tmp_path)
  best.offer({'w': np.ones(2)}, 4, {'episodes': 20, 'episode_return': -400.0})
  assert checkpoints.latest_counters()['learner_steps'] == 2


def test_a_run_of_a_task_without_success_is_told_by_its_return(tmp_path):
  config = fake_run.make_config(
    tmp_path / 'run',
    max_env_steps=40,
    steps_per_second=None,
    stop_at_successes=None,
  )
  config = dataclasses.replace(
    config, make_environment=lambda s: fakes.FakeEnvironment(fake_run.SPEC, 10)
  )
  summary = programs.run_local(config)
  assert summary.successes is None and summary.episode_return > 0
  assert 'new episodes; the task defines no success.' in str(summary)
  written = json.loads((config.folder / 'summary.json').read_text())
  assert written['successes'] is None
  assert written['episode_return'] == summary.episode_return
  report = programs.evaluate(config, episodes=2)
  assert report.successes is report.success is report.success_interval is None
  assert 'Success:         none defined by the task' in str(report)
  assert 'Cycle time' not in str(report)
  assert 'Return: ' in str(report)
  refused = dataclasses.replace(config, stop_at_successes=1, max_env_steps=100)
  with pytest.raises(evaluation.NoSuccessError, match='--stop-at-return'):
    programs.run_local(refused)
  # As soon as it is known: after one more episode.
  assert len(files.find(run_folder.episodes(config.folder, 'actor_0'))) == 5


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The config of a run that has ended."""
  config = fake_run.make_config(
    tmp_path_factory.mktemp('runs') / 'run',
    max_env_steps=60,
    steps_per_second=None,
    evaluate=False,
    success=1.0,
  )
  programs.run_local(config)
  return config


def test_a_checkpoint_is_evaluated(run):
  report = programs.evaluate(run, episodes=10)
  assert (report.learner_steps, report.successes) == (20, 10)
  np.testing.assert_allclose(report.success_interval, (0.7225, 1), atol=5e-5)
  assert '10 of 10, 100% (95 % interval 72% to 100%)' in str(report)
  assert 'Cycle time:      10.0 steps until success' in str(report)
  file = run.folder / 'evaluations' / '20.json'
  assert json.loads(file.read_text())['successes'] == 10


def test_a_step_that_was_not_kept_is_named(run):
  with pytest.raises(
    FileNotFoundError, match=r'step 7; it holds those of .*20'
  ):
    programs.evaluate(run, episodes=1, learner_step=7)
  report = programs.evaluate(run, episodes=1, learner_step=20)
  assert report.learner_steps == 20


class _Direction(fakes.FakeEnvironment):
  """Moves what lies `there` to the other side, in 10 steps, or fails.

  Where it lies there already, the first step ends the episode.
  """

  def __init__(self, side, lies, outcomes):
    super().__init__(fake_run.SPEC, success=0.0)
    self._side, self._lies, self._outcomes = side, lies, iter(outcomes)

  def step(self, action):
    timestep = super().step(action)
    if timestep.last() and next(self._outcomes):
      self._lies[0] = self._side
    self._succeeded = self._lies[0] == self._side
    if not self._succeeded:
      return timestep
    return dm_env.termination(1.0, timestep.observation)


def _take_turns(episodes, forth, back, patience):
  """Returns the episodes' lengths; those of failures are negative."""
  lies = ['here']
  environment = alternating.Alternating(
    {
      'forth': _Direction('there', lies, forth),
      'back': _Direction('here', lies, back),
    },
    patience,
  )
  policy = lambda params, key, observation: jnp.zeros(3)
  run = lambda: evaluation.Evaluation(environment, policy).run_episode({})
  found = evaluation.take_turns(
    environment, {'forth': run, 'back': run}, episodes
  )
  return {
    task: [
      run['episode_length'] * (1 if run['success'] else -1) for run in runs
    ]
    for task, runs in found.items()
  }


def test_one_task_brings_about_what_the_other_begins_with():
  found = _take_turns(3, (1, 0, 1, 1, 1), (0, 1, 1), patience=10)
  assert found == {'forth': [10, -10, 10], 'back': [-10, 10, 10]}
  # A try finds the object where it is to be: that is no success of its own.
  found = _take_turns(3, (0, 0, 1, 1, 1), (1, 1, 1), patience=2)
  assert found == {'forth': [-10, -10, 10], 'back': [10, 10, 10]}


@pytest.mark.parametrize('patience', [1, 2, 10])
def test_turns_end_where_nothing_is_brought_about(patience, caplog):
  found = _take_turns(4, [0] * 99, [], patience)
  assert found == {'forth': [-10] * 4, 'back': []}
  assert 'forth has no success any more' in caplog.text
  found = _take_turns(4, (1, *[0] * 99), [1], patience)
  assert found == {'forth': [10, -10, -10, -10], 'back': [10]}


def _one_robot(seed):
  """Returns two tasks in turns, in episodes of half the length."""
  return alternating.Alternating(
    {
      task: fakes.FakeEnvironment(
        fake_run.SPEC, 5, seed, terminate=True, success=1.0
      )
      for task in ('there', 'back')
    }
  )


@pytest.fixture(scope='module')
def turns(run):
  """The config of two runs that alternate, as if both were `run`."""
  folder = run.folder.with_name('turns')
  runs = {}
  for task in ('there', 'back'):
    shutil.copytree(run.folder, folder / task)
    runs[task] = dataclasses.replace(run, run_dir=folder / task)
  return programs.AlternatingRuns(
    run_dir=folder, runs=runs, make_environment=_one_robot
  )


def test_on_one_robot_the_tasks_are_evaluated_in_turns(turns):
  reports = programs.evaluate_in_turns(turns, 3, {'back': 20})
  assert list(reports) == ['there', 'back']
  for task, report in reports.items():
    assert (report.learner_steps, report.episodes) == (20, 3)
    assert (report.successes, report.cycle_steps) == (3, 5)
    file = turns.folder / task / 'evaluations' / '20.json'
    assert json.loads(file.read_text())['cycle_steps'] == 5
  with pytest.raises(FileNotFoundError, match=r'back/.* step 7;'):
    programs.evaluate_in_turns(turns, 1, {'back': 7})


def test_tasks_with_environments_of_their_own_need_no_turns(turns):
  runs = {
    task: dataclasses.replace(run, evaluate=True)
    for task, run in turns.runs.items()
  }
  config = dataclasses.replace(turns, runs=runs)
  reports = programs.evaluate_in_turns(config, 2)
  assert [report.cycle_steps for report in reports.values()] == [10, 10]


def test_where_the_demonstrations_came_from_does_not_matter(run):
  other = dataclasses.replace(run, demonstrations=run.demonstrations[:1])
  assert programs.evaluate(other, episodes=1).episodes == 1


def test_a_checkpoint_of_another_agent_is_refused(run):
  other = fake_run.make_config(run.folder, learning_rate=0.5, success=1.0)
  with pytest.raises(run_folder.AnotherRunError, match='critic_learning_rate'):
    programs.evaluate(other, episodes=1)


def test_a_folder_without_a_run_is_refused(run, tmp_path):
  for folder, reason in (
    (tmp_path / 'none', 'nothing is there'),
    (tmp_path, r'it has no config\.json'),
  ):
    config = dataclasses.replace(run, run_dir=folder)
    with pytest.raises(run_folder.AnotherRunError, match=reason):
      programs.evaluate(config, episodes=1)


@pytest.mark.parametrize('name', ['', 'classifier.safetensors'])
def test_a_classifier_is_refused_as_such(run, tmp_path, name):
  # The header that agents/classifier/saving.py writes.
  safetensors.numpy.save_file(
    {'w': np.zeros(1)},
    tmp_path / 'classifier.safetensors',
    {'serl': json.dumps({'format': 'serl-classifier', 'version': 1})},
  )
  config = dataclasses.replace(run, run_dir=tmp_path / name)
  with pytest.raises(
    run_folder.AnotherRunError, match='a reward classifier, which does not act'
  ):
    programs.evaluate(config, episodes=1)


def test_who_cannot_be_filmed_is_told_so_before_it_moves(run, monkeypatch):
  resets = []
  monkeypatch.setattr(
    fake_run.FaultyEnvironment, 'reset', lambda self: resets.append(self)
  )
  with pytest.raises(ValueError, match='cannot be filmed'):
    programs.evaluate(run, episodes=1, film=True)
  assert not resets


def _sweep(successes, episode_return):
  return {
    'successes': successes,
    'episodes': 20,
    'episode_return': episode_return,
  }


def _kept(folder):
  checkpointer = checkpointing.Checkpointer(run_folder.best_policy(folder))
  _, params, counters = checkpointer.restore_latest({'w': np.zeros(2)})
  return params['w'][0], counters['learner_steps']


def test_the_best_policy_is_kept(tmp_path):
  best = evaluation.BestPolicy(tmp_path)
  for steps, sweep, kept in (
    (10, _sweep(0, 1.0), 10),
    (20, _sweep(3, 0.5), 20),
    (30, _sweep(2, 9.0), 20),
    (40, _sweep(3, 0.6), 40),
    (50, _sweep(3, 0.6), 40),
    (35, _sweep(4, 0.1), 35),  # of a learner that went back
    (60, {**_sweep(5, 0.1), 'episodes': 50}, 35),
    (70, {**_sweep(4, 0.1), 'episodes': 10}, 70),
  ):
    best.offer({'w': np.full(2, float(steps))}, steps, sweep)
    assert _kept(tmp_path) == (kept, kept)


def test_a_resumed_run_keeps_its_best_policy(tmp_path):
  evaluation.BestPolicy(tmp_path).offer({'w': np.ones(2)}, 10, _sweep(3, 1.0))
  again = evaluation.BestPolicy(tmp_path)
  again.offer({'w': np.zeros(2)}, 20, _sweep(2, 5.0))
  assert _kept(tmp_path) == (1.0, 10)
  again.offer({'w': np.full(2, 5.0)}, 30, _sweep(4, 0.0))
  assert _kept(tmp_path) == (5.0, 30)


def test_a_damaged_best_policy_is_replaced_by_the_next_sweep(tmp_path, caplog):
  evaluation.BestPolicy(tmp_path).offer({'w': np.ones(2)}, 10, _sweep(9, 1.0))
  folder = run_folder.best_policy(tmp_path)
  shutil.rmtree(folder / '1' / 'state')
  again = evaluation.BestPolicy(tmp_path)
  assert 'The next sweep replaces it.' in caplog.text
  again.offer({'w': np.zeros(2)}, 20, _sweep(2, 5.0))
  assert _kept(tmp_path) == (0.0, 20)
  assert (tmp_path / 'damaged' / 'best_policy' / '1').is_dir()


def test_a_damaged_policy_is_not_evaluated(tmp_path, caplog):
  config = fake_run.make_config(
    tmp_path / 'run', max_env_steps=30, steps_per_second=None
  )
  programs.run_local(config)
  (best,) = run_folder.best_policy(config.folder).iterdir()
  shutil.rmtree(best / 'state')
  report = programs.evaluate(config, episodes=1)
  assert 'The policy of the last checkpoint is taken.' in caplog.text
  step = report.learner_steps
  shutil.rmtree(run_folder.checkpoints(config.folder) / str(step) / 'state')
  with pytest.raises(checkpointing.DamagedError, match='its arrays cannot'):
    programs.evaluate(config, episodes=1, learner_step=step)
