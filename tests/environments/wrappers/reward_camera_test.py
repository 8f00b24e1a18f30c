"""The reward sees a camera that the policy does not."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import learned_reward
from serl.environments.wrappers import reward_camera
from serl.testing import fakes


def _environment():
  image = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255)
  observations = {'front': image, 'wrist': image}
  return fakes.FakeEnvironment(
    fakes.make_state_spec()._replace(observations=observations)
  )


class RewardCameraTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return reward_camera.RewardCamera(_environment())


def test_what_is_wrapped_still_sees_it():
  seen = []

  def classify(observation):
    seen.append(sorted(observation))
    return 0.0

  rewarded = learned_reward.LearnedReward(_environment(), classify, 0.5)
  environment = reward_camera.RewardCamera(rewarded, ['front'])
  timesteps = [environment.reset(), environment.step(np.zeros(2, np.float32))]
  assert [sorted(t.observation) for t in timesteps] == [['wrist'], ['wrist']]
  assert seen == [['front', 'wrist']]
  assert sorted(environment.observation_spec()) == ['wrist']


def test_refuses_a_camera_that_is_not_there():
  with pytest.raises(ValueError, match=r"'side'; .*\['front', 'wrist'\]"):
    reward_camera.RewardCamera(_environment(), ['side'])
