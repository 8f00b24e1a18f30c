"""Tests for alternating; on the arm it is in the tests of the bins."""

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import alternating
from serl.replay import adders
from serl.teleop import devices
from serl.testing import fakes


class _Task(dm_env.Environment):
  """An episode of two steps, which the action of the last makes a success."""

  def __init__(self, name, shape=(1,)):
    self.name = name
    self._shape = shape
    self.closed = False
    self.fails = False

  def reset(self):
    if self.fails:
      raise RuntimeError('No arm.')
    self._steps = 0
    return dm_env.restart(np.zeros(self._shape))

  def step(self, action):
    self._steps += 1
    observation = np.full(self._shape, self._steps)
    if self._steps < 2:
      return dm_env.transition(0.0, observation)
    if action > 0:
      return dm_env.termination(1.0, observation)
    return dm_env.truncation(0.0, observation)

  def step_extras(self):
    return {'name': self.name, 'step': self._steps}

  def to_tool_frame(self, action):
    return self.name, action

  def action_spec(self):
    return specs.BoundedArray((), float, -1.0, 1.0)

  def observation_spec(self):
    return specs.Array(self._shape, float)

  def close(self):
    self.closed = True


def _make(*names, **keywords):
  tasks = {name: _Task(name) for name in names}
  return alternating.Alternating(tasks, **keywords), tasks


def test_a_success_leads_to_the_next_task_and_around():
  environment, _ = _make('forth', 'across', 'back')
  seen = []
  for action in (1, -1, 1, 1, 1):
    announced = environment.next_task
    assert environment.reset().first()
    assert environment.task == announced
    seen.append(environment.task)
    environment.step(action)
    assert environment.step_extras() == {'name': environment.task, 'step': 1}
    assert environment.step(action).last()
    # Still the one that has ended.
    assert environment.task == seen[-1]
  assert seen == ['forth', 'across', 'across', 'back', 'forth']
  assert environment.next_task == 'across'


def test_without_success_the_next_task_has_a_try():
  environment, _ = _make('forth', 'back', patience=3)
  seen = []
  tries = []
  for action in (-1, -1, 1, -1, 1, -1, -1, -1, -1):
    tries.append(environment.next_is_try)
    environment.reset()
    seen.append(environment.task)
    environment.step(action)
    environment.step(action)
  forth, back = 'forth', 'back'
  # Twice in vain and a success; in vain and a success; three times in vain.
  assert seen == [forth] * 3 + [back] * 2 + [forth] * 3 + [back]
  assert tries == [False] * 8 + [True]
  assert not environment.next_is_try


def test_episodes_that_are_cut_off_are_no_failures():
  environment, _ = _make('forth', 'back', patience=2)
  for _ in range(5):
    environment.reset()
    environment.step(-1)
  assert environment.next_task == 'forth'


def test_what_is_asked_between_the_steps_is_asked_of_the_present_task():
  environment, _ = _make('forth', 'back')
  (extras,) = adders.step_extras_of(environment)
  to_policy_frame = devices.conventions(environment)['to_policy_frame']
  for task in ('forth', 'back', 'forth'):
    environment.reset()
    environment.step(1)
    assert extras() == {'name': task, 'step': 1}
    assert to_policy_frame(3) == (task, 3)
    environment.step(1)


def test_a_step_after_the_last_begins_the_next_episode():
  environment, _ = _make('forth', 'back')
  assert environment.step(1).first()
  for expected in ('back', 'forth'):
    environment.step(1)
    assert environment.step(1).last()
    assert environment.step(1).first()
    assert environment.task == expected


def test_what_was_not_finished_begins_again():
  environment, tasks = _make('forth', 'back')
  environment.reset()
  environment.step(1)
  environment.reset()
  assert environment.task == environment.next_task == 'forth'
  environment.step(1)
  environment.step(1)
  tasks['back'].fails = True
  with pytest.raises(RuntimeError, match='No arm'):
    environment.reset()
  tasks['back'].fails = False
  assert environment.step(1).first() and environment.task == 'back'


def test_all_are_closed():
  environment, tasks = _make('forth', 'back')
  environment.close()
  assert all(task.closed for task in tasks.values())


def test_refuses_tasks_that_one_buffer_could_not_hold():
  with pytest.raises(
    ValueError, match=r"observation_spec of 'back' is .*'forth'"
  ):
    alternating.Alternating(
      {'forth': _Task('forth'), 'back': _Task('back', (2,))}
    )
  with pytest.raises(ValueError, match='environments is empty'):
    alternating.Alternating({})
  with pytest.raises(ValueError, match='patience is 0; expected 1'):
    _make('forth', patience=0)


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return alternating.Alternating(
      {
        name: fakes.FakeEnvironment(fakes.make_state_spec(), 3, seed)
        for seed, name in enumerate(('there', 'back'))
      }
    )
