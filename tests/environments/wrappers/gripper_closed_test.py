"""Tests for gripper_closed."""

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import action_chunking
from serl.environments.wrappers import gripper_closed
from serl.testing import fakes


class _Environment(dm_env.Environment):
  def __init__(self, size=7):
    self._size = size
    self.actions = []

  def reset(self):
    return dm_env.restart(np.zeros(1, np.float32))

  def step(self, action):
    self.actions.append(action)
    return dm_env.transition(0.0, np.zeros(1, np.float32))

  def observation_spec(self):
    return specs.Array((1,), np.float32)

  def action_spec(self):
    return specs.BoundedArray((self._size,), np.float32, -1.0, 1.0)


def test_nothing_is_asked_of_the_gripper():
  inner = _Environment()
  environment = gripper_closed.GripperClosed(inner)
  environment.step(np.arange(6, dtype=np.float32))
  np.testing.assert_array_equal(inner.actions[0], (0, 1, 2, 3, 4, 5, 0))
  assert inner.actions[0].dtype == np.float32


def test_the_actions_are_one_shorter():
  spec = gripper_closed.GripperClosed(_Environment()).action_spec()
  assert spec.shape == (6,)
  np.testing.assert_array_equal(spec.maximum, np.ones(6))
  spec.validate(np.zeros(6, np.float32))


def test_an_action_with_the_gripper_is_refused():
  environment = gripper_closed.GripperClosed(_Environment())
  with pytest.raises(ValueError, match='without the gripper'):
    environment.step(np.zeros(7, np.float32))


def test_an_environment_without_a_gripper_is_refused():
  with pytest.raises(ValueError, match='the gripper as the last'):
    gripper_closed.GripperClosed(_Environment(size=1))


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(fakes.make_state_spec())
    return gripper_closed.GripperClosed(environment)


def test_chunks_of_actions_are_refused():
  environment = fakes.FakeEnvironment(fakes.make_state_spec())
  chunked = action_chunking.ActionChunking(environment, 2)
  with pytest.raises(ValueError, match='takes 2 actions in a row'):
    gripper_closed.GripperClosed(chunked)
