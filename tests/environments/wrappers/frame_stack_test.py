"""The newest image is the last of a stack."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import frame_stack
from serl.testing import fakes


class FrameStackTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(fakes.make_image_spec())
    return frame_stack.FrameStack(environment, 3)


class _Counter(dm_env.Environment):
  """Shows its step count in a buffer that it reuses; 4 steps an episode."""

  def __init__(self):
    self._image = np.zeros((2, 2, 3), np.uint8)
    self._steps = 0

  def reset(self):
    self._steps = 0
    return dm_env.restart(self._observe())

  def step(self, action):
    self._steps += 1
    make = dm_env.truncation if self._steps == 4 else dm_env.transition
    return make(0.0, self._observe())

  def _observe(self):
    self._image[:] = 10 + self._steps
    return {'image': self._image, 'count': np.float32([self._steps])}

  def observation_spec(self):
    return {
      'image': specs.BoundedArray((2, 2, 3), np.uint8, 0, 255, name='image'),
      'count': specs.Array((1,), np.float32, name='count'),
    }

  def action_spec(self):
    return specs.Array((), float)


def _shown(timestep):
  return timestep.observation['image'][:, 0, 0, 0].tolist()


def test_repeats_the_first_image_and_then_shifts():
  environment = frame_stack.FrameStack(_Counter(), 3)
  assert _shown(environment.reset()) == [10, 10, 10]
  assert _shown(environment.step(0)) == [10, 10, 11]
  assert _shown(environment.step(0)) == [10, 11, 12]
  timestep = environment.step(0)
  assert _shown(timestep) == [11, 12, 13]
  assert timestep.observation['count'] == [3]


def test_an_episode_shows_nothing_of_the_one_before():
  environment = frame_stack.FrameStack(_Counter(), 2)
  environment.reset()
  environment.step(0)
  assert _shown(environment.reset()) == [10, 10]


def test_what_was_returned_stays_as_it_was():
  environment = frame_stack.FrameStack(_Counter(), 2)
  first = environment.reset()
  environment.step(0)
  assert _shown(first) == [10, 10]


def test_only_images_get_another_spec():
  environment = frame_stack.FrameStack(_Counter(), 3)
  spec = environment.observation_spec()
  assert spec['image'].shape == (3, 2, 2, 3)
  assert spec['image'].name == 'image'
  assert spec['count'] == _Counter().observation_spec()['count']


def test_refuses_what_cannot_be_stacked():
  with pytest.raises(ValueError, match='frames=0'):
    frame_stack.FrameStack(_Counter(), 0)
  with pytest.raises(ValueError, match=r'no image \[H, W, C\].*tcp_pos'):
    frame_stack.FrameStack(fakes.FakeEnvironment(fakes.make_state_spec()), 2)
