"""A chunk is as much as its steps, one after another."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import action_chunking
from serl.testing import fakes


class ActionChunkingTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(fakes.make_state_spec())
    return action_chunking.ActionChunking(environment, 4)


class _Script(dm_env.Environment):
  """Gives the rewards and discounts that it was told, and keeps the actions."""

  control_timestep = 0.02

  def __init__(self, rewards, discounts):
    self._script = list(zip(rewards, discounts))
    self.actions = []

  def reset(self):
    return dm_env.restart(np.zeros(1))

  def step(self, action):
    reward, discount = self._script[len(self.actions)]
    self.actions.append(action.tolist())
    last = len(self.actions) == len(self._script)
    return dm_env.TimeStep(
      dm_env.StepType.LAST if last else dm_env.StepType.MID,
      np.float32(reward),
      np.float32(discount),
      np.full(1, float(len(self.actions))),
    )

  def observation_spec(self):
    return specs.Array((1,), float)

  def action_spec(self):
    return specs.BoundedArray((2,), np.float32, [-1, 0], 1, name='action')

  def reward_spec(self):
    return specs.BoundedArray((), np.float32, -0.5, 2.0, name='reward')


def test_executes_the_actions_in_their_order():
  script = _Script([1, 2, 4, 8], [1, 1, 1, 1])
  environment = action_chunking.ActionChunking(script, 2)
  environment.reset()
  timestep = environment.step(np.float32([0.1, 0.2, 0.3, 0.4]))
  np.testing.assert_allclose(script.actions, [[0.1, 0.2], [0.3, 0.4]])
  assert timestep.mid()
  assert (timestep.reward, timestep.discount) == (3.0, 1.0)
  assert timestep.observation == [2.0]
  assert timestep.reward.dtype == np.float32
  timestep = environment.step(np.zeros(4))
  assert timestep.last()
  assert (timestep.reward, timestep.discount) == (12.0, 1.0)


def test_discounts_within_a_chunk_as_dm_env_does():
  script = _Script([1, 2, 4, 9], [0.5, 0.5, 0.25, 1])
  environment = action_chunking.ActionChunking(script, 3)
  environment.reset()
  timestep = environment.step(np.zeros(6))
  assert timestep.reward == 1 + 0.5 * 2 + 0.25 * 4
  assert timestep.discount == 0.5 * 0.5 * 0.25


@pytest.mark.parametrize('discount', [0.0, 1.0])
def test_the_end_of_the_episode_ends_the_chunk(discount):
  script = _Script([1, 2], [1, discount])
  environment = action_chunking.ActionChunking(script, 4)
  environment.reset()
  timestep = environment.step(np.zeros(8))
  assert timestep.last()
  assert (timestep.reward, timestep.discount) == (3.0, discount)
  assert len(script.actions) == 2


def test_specs_are_those_of_a_chunk():
  environment = action_chunking.ActionChunking(_Script([0], [1]), 3)
  spec = environment.action_spec()
  np.testing.assert_array_equal(spec.minimum, [-1, 0, -1, 0, -1, 0])
  np.testing.assert_array_equal(spec.maximum, np.ones(6))
  reward = environment.reward_spec()
  assert (reward.minimum, reward.maximum) == (-1.5, 6.0)
  assert environment.control_timestep == pytest.approx(0.06)


def test_refuses_what_is_no_chunk():
  script = _Script([0], [1])
  environment = action_chunking.ActionChunking(script, 3)
  environment.reset()
  with pytest.raises(ValueError, match=r'shape \(2,\); expected \(6,\)'):
    environment.step(np.zeros(2))
  assert not script.actions
  with pytest.raises(ValueError, match='horizon=0'):
    action_chunking.ActionChunking(script, 0)
  unbounded = fakes.make_state_spec()._replace(
    actions=specs.Array((2,), np.float32)
  )
  with pytest.raises(ValueError, match=r'expected bounded numbers \[A\]'):
    action_chunking.ActionChunking(fakes.FakeEnvironment(unbounded), 2)
