"""All numbers stand in one array, in the order of their names."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import flatten_observation
from serl.testing import fakes


class FlattenObservationTest(
  test_utils.EnvironmentTestMixin, absltest.TestCase
):
  def make_object_under_test(self):
    spec = fakes.make_image_spec()
    return flatten_observation.FlattenObservation(fakes.FakeEnvironment(spec))


def _flatten(observations):
  spec = fakes.make_state_spec()._replace(observations=observations)
  return flatten_observation.FlattenObservation(fakes.FakeEnvironment(spec))


def test_concatenates_by_sorted_names_and_keeps_images():
  image = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255)
  environment = _flatten(
    {
      'tcp_pos': specs.BoundedArray((2,), np.float32, 0.0, [1.0, 2.0]),
      'images': {'front': image},
      'gripper': {'width': specs.Array((), np.float64)},
    }
  )
  spec = environment.observation_spec()
  assert sorted(spec) == ['front', 'state']
  assert spec['front'] is image
  np.testing.assert_array_equal(spec['state'].minimum, [-np.inf, 0, 0])
  np.testing.assert_array_equal(spec['state'].maximum, [np.inf, 1, 2])

  picture = np.full((4, 4, 3), 7, np.uint8)
  flat = environment.observe(
    {
      'tcp_pos': np.float32([0.5, 1.5]),
      'images': {'front': picture},
      'gripper': {'width': np.float64(3.0)},
    }
  )
  assert flat['front'] is picture
  assert flat['state'].dtype == np.float32
  assert flat['state'].tolist() == [3.0, 0.5, 1.5]


def test_numbers_without_bounds_stay_without():
  environment = _flatten({'x': specs.Array((2, 2), np.float32)})
  assert environment.observation_spec() == {
    'state': specs.Array((4,), np.float32, 'state')
  }


def test_images_alone_have_no_state():
  image = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255)
  environment = _flatten({'images': {'front': image}})
  assert list(environment.reset().observation) == ['front']


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (({'front': 'a'}, {'front': 'b'}), "'b/front' would be called 'front'"),
    (({'state': 'a'}, {}), "'a/state' would be called 'state'"),
  ],
)
def test_refuses_two_arrays_of_one_name(names, message):
  image = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255)
  observations = {
    folder: {name: image} for n in names for name, folder in n.items()
  }
  with pytest.raises(ValueError, match=message):
    _flatten(observations)
