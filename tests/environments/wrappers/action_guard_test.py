"""Malformed actions are refused, out-of-range ones clipped."""

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.sim import pick_cube
from serl.environments.wrappers import action_guard

SPEC = specs.BoundedArray((3,), np.float32, (-1, -1, 0), (1, 1, 2))


class ActionGuardTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return action_guard.ActionGuard(pick_cube.PickCube(seed=0))


class Recorder(dm_env.Environment):
  """Remembers the actions it is given."""

  def __init__(self):
    self.actions = []

  def reset(self):
    return dm_env.restart(np.zeros(1))

  def step(self, action):
    self.actions.append(action)
    return dm_env.transition(0.0, np.zeros(1))

  def observation_spec(self):
    return specs.Array((1,), float)

  def action_spec(self):
    return SPEC


@pytest.mark.parametrize(
  ('action', 'message'),
  [
    (np.array([0.0, np.nan, 0.0]), r'nan.*NaN or infinity'),
    (np.array([np.inf, 0.0, 0.0]), r'inf.*NaN or infinity'),
    (np.zeros(4), r'shape \(4,\).*expected \(3,\)'),
    (np.zeros((1, 3)), r'shape \(1, 3\).*expected \(3,\)'),
    (0.5, r'0\.5 has shape \(\).*expected \(3,\)'),
    (['a', 'b', 'c'], r'expected \(3,\) real numbers'),
    (np.zeros(3, complex), r'complex128; expected \(3,\) real numbers'),
    (np.zeros(3, bool), r'bool; expected \(3,\) real numbers'),
    ([None, 0, 0], r'object; expected \(3,\) real numbers'),
    (None, r'None has shape \(\)'),
  ],
)
def test_refuses_before_anything_moves(action, message):
  environment = Recorder()
  guard = action_guard.ActionGuard(environment)
  guard.reset()
  with pytest.raises(ValueError, match=message):
    guard.step(action)
  assert environment.actions == []


def test_clips_to_each_bound():
  environment = Recorder()
  action_guard.ActionGuard(environment).step(np.array([-9.0, 0.5, 9.0]))
  (action,) = environment.actions
  np.testing.assert_array_equal(action, np.array([-1.0, 0.5, 2.0]))
  assert action.dtype == np.float32


def test_takes_lists_and_integers_and_leaves_its_input():
  given = np.array([5, 0, 1])
  np.testing.assert_array_equal(
    action_guard.guard_action(given, SPEC), (1.0, 0.0, 1.0)
  )
  np.testing.assert_array_equal(given, (5, 0, 1))
  np.testing.assert_array_equal(
    action_guard.guard_action([0.1, 0, 0], SPEC),
    np.array([0.1, 0, 0], np.float32),
  )
