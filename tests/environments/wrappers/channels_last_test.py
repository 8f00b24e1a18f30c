"""Images have their channels last, and nothing else is moved."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import channels_last
from serl.testing import fakes


def _environment(**observations):
  spec = fakes.make_state_spec()._replace(
    observations={
      'images': {'front': specs.BoundedArray((3, 6, 8), np.uint8, 0, 255)},
      'state': specs.Array((3, 2), np.float32),
      **observations,
    }
  )
  return fakes.FakeEnvironment(spec)


class ChannelsLastTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return channels_last.ChannelsLast(_environment())


def test_moves_the_channels_of_images():
  low = np.arange(3 * 6 * 8, dtype=np.uint8).reshape(3, 6, 8)
  inner = _environment(
    stacked=specs.BoundedArray((4, 3, 6, 8), np.uint8, 0, 255),
    bounded=specs.BoundedArray((3, 6, 8), np.uint8, low, 255),
    last=specs.BoundedArray((6, 8, 3), np.uint8, 0, 255),
  )
  environment = channels_last.ChannelsLast(inner)
  observation = environment.reset().observation
  spec = environment.observation_spec()
  shapes = {p: x.shape for p, x in specs.flatten(spec).items()}
  assert shapes == {
    'bounded': (6, 8, 3),
    'images/front': (6, 8, 3),
    'last': (6, 8, 3),
    'stacked': (4, 6, 8, 3),
    'state': (3, 2),
  }
  for path, leaf in specs.flatten(spec).items():
    leaf.validate(specs.flatten(observation)[path])
  np.testing.assert_array_equal(spec['bounded'].minimum[..., 1], low[1])
  specs.check_images(spec['images'])
  moved = environment.observe({'images': {'front': low}})
  np.testing.assert_array_equal(moved['images']['front'][..., 2], low[2])


def test_refuses_what_has_no_such_image():
  spec = fakes.make_image_spec()
  with pytest.raises(ValueError, match=r'expected an image \[..., C, H, W\]'):
    channels_last.ChannelsLast(fakes.FakeEnvironment(spec))


@pytest.mark.parametrize(
  'shape', [(3, 64, 64), (1, 84, 84), (4, 3, 64, 96), (12, 84, 84)]
)
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_errors_of_images_name_the_wrapper(shape, dtype):
  with pytest.raises(ValueError, match=r'channels come first.* ChannelsLast'):
    specs.check_images({'front': specs.Array(shape, dtype)})


@pytest.mark.parametrize(
  'shape', [(64, 64, 3), (2, 2, 1), (3, 64, 64, 3), (84, 84, 12), (1, 4, 4)]
)
def test_channels_that_come_last_are_known_as_such(shape):
  specs.check_images({'front': specs.Array(shape, np.uint8)})
