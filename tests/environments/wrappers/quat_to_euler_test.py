"""Tests for quat_to_euler."""

import math

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import quat_to_euler
from serl.testing import fakes

_HALF = math.sqrt(0.5)


class _Environment(dm_env.Environment):
  """Observes a pose."""

  def __init__(self, pose):
    self._pose = np.array(pose, np.float32)

  def _observation(self):
    return {'tcp_pose': self._pose, 'gripper_pose': np.zeros(1, np.float32)}

  def reset(self):
    return dm_env.restart(self._observation())

  def step(self, action):
    return dm_env.transition(0.0, self._observation())

  def observation_spec(self):
    size = len(self._pose)
    return {
      'tcp_pose': specs.BoundedArray((size,), np.float32, -2.0, 2.0),
      'gripper_pose': specs.Array((1,), np.float32),
    }

  def action_spec(self):
    return specs.BoundedArray((6,), np.float32, -1.0, 1.0)


@pytest.mark.parametrize(
  'quaternion, angles',
  [
    ((0, 0, 0, 1), (0, 0, 0)),
    ((1, 0, 0, 0), (math.pi, 0, 0)),
    ((0, 0, _HALF, _HALF), (0, 0, math.pi / 2)),
    # About x and then about the z that stayed where it was.
    ((0.5, 0.5, 0.5, 0.5), (math.pi / 2, 0, math.pi / 2)),
  ],
)
def test_the_orientation_becomes_three_angles(quaternion, angles):
  environment = quat_to_euler.QuatToEuler(
    _Environment((0.1, 0.2, 0.3, *quaternion))
  )
  for timestep in (environment.reset(), environment.step(np.zeros(6))):
    pose = timestep.observation['tcp_pose']
    np.testing.assert_allclose(pose, (0.1, 0.2, 0.3, *angles), atol=1e-6)
    environment.observation_spec()['tcp_pose'].validate(pose)
    assert 'gripper_pose' in timestep.observation


def test_what_is_no_pose_is_refused():
  with pytest.raises(ValueError, match=r'expected a pose \[7\]'):
    quat_to_euler.QuatToEuler(_Environment((0.0, 0.0, 0.0)))


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(fakes.make_arm_spec())
    return quat_to_euler.QuatToEuler(environment)
