"""A repeated action is as much as its steps, and no more than an episode."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import action_repeat
from serl.testing import fakes


class ActionRepeatTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(fakes.make_state_spec())
    return action_repeat.ActionRepeat(environment, 4)


class _Counting(dm_env.Environment):
  """Rewards step k with k; ends after `length` steps with `discount`."""

  control_timestep = 0.02

  def __init__(self, length, discount=1.0):
    self._length = length
    self._discount = np.float32(discount)
    self.actions = []

  def reset(self):
    self.actions = []
    return dm_env.restart(np.zeros(1, np.float32))

  def step(self, action):
    if len(self.actions) == self._length:
      return self.reset()
    self.actions.append(action)
    count = len(self.actions)
    is_last = count == self._length
    return dm_env.TimeStep(
      dm_env.StepType.LAST if is_last else dm_env.StepType.MID,
      np.float32(count),
      self._discount if is_last else np.float32(1),
      np.full(1, count, np.float32),
    )

  def observation_spec(self):
    return specs.Array((1,), np.float32)

  def action_spec(self):
    return specs.BoundedArray((2,), np.float32, -1, 1, name='action')

  def reward_spec(self):
    return specs.BoundedArray((), np.float32, -1, 3)


def test_adds_the_rewards_of_an_action():
  inner = _Counting(6)
  environment = action_repeat.ActionRepeat(inner, 3)
  environment.reset()
  action = np.float32([0.5, -0.5])
  timestep = environment.step(action)
  assert timestep.mid()
  assert (timestep.reward, timestep.discount) == (1 + 2 + 3, 1)
  assert timestep.observation == [3]
  np.testing.assert_array_equal(inner.actions, [action] * 3)
  assert timestep.reward.dtype == np.float32


@pytest.mark.parametrize('discount', [0.0, 1.0])
def test_stops_where_the_episode_does(discount):
  inner = _Counting(4, discount)
  environment = action_repeat.ActionRepeat(inner, 3)
  environment.reset()
  environment.step(np.zeros(2))
  timestep = environment.step(np.zeros(2))
  assert timestep.last()
  assert (timestep.reward, timestep.discount) == (4, discount)
  assert len(inner.actions) == 4
  # The next step begins an episode, in which nothing has been done yet.
  assert environment.step(np.zeros(2)).first()
  assert not inner.actions


def test_specs_are_those_of_several_steps():
  environment = action_repeat.ActionRepeat(_Counting(6), 3)
  reward = environment.reward_spec()
  assert (reward.minimum, reward.maximum) == (-3, 9)
  assert environment.control_timestep == pytest.approx(0.06)
  assert environment.action_spec() == _Counting(6).action_spec()


def test_has_no_rate_where_the_environment_has_none():
  fake = fakes.FakeEnvironment(fakes.make_state_spec())
  environment = action_repeat.ActionRepeat(fake, 2)
  assert specs.steps_per_second(environment) is None


@pytest.mark.parametrize('repeats', [0, -1, 2.0, True, '2', None, np.nan])
def test_refuses_what_is_no_number_of_steps(repeats):
  with pytest.raises(ValueError, match=f'repeats={repeats!r}; expected'):
    action_repeat.ActionRepeat(_Counting(6), repeats)
