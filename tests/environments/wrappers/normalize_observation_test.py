"""Bounded numbers are scaled, everything else passes."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.sim import pick_cube
from serl.environments.wrappers import normalize_observation
from serl.testing import fakes


class NormalizeObservationTest(
  test_utils.EnvironmentTestMixin, absltest.TestCase
):
  def make_object_under_test(self):
    environment = pick_cube.PickCube(seed=0)
    return normalize_observation.NormalizeObservation(environment)


def _normalize(**observations):
  spec = fakes.make_state_spec()._replace(observations=observations)
  return normalize_observation.NormalizeObservation(fakes.FakeEnvironment(spec))


def test_bounds_become_minus_1_and_1():
  low, high = np.array([0.1, -4.0]), np.array([0.7, -2.0])
  environment = _normalize(x=specs.BoundedArray((2,), np.float64, low, high))
  assert environment.observation_spec()['x'] == specs.BoundedArray(
    (2,), np.float32, -1, 1
  )
  for given, expected in ((low, -1), (high, 1), ((low + high) / 2, 0)):
    (scaled,) = environment.observe({'x': given}).values()
    np.testing.assert_allclose(scaled, np.full(2, expected), atol=1e-7)
    assert scaled.dtype == np.float32


def test_images_integers_and_unbounded_numbers_stay():
  leaves = {
    'image': specs.BoundedArray((2, 2, 3), np.uint8, 0, 255),
    'count': specs.BoundedArray((1,), np.int32, 0, 9),
    'free': specs.Array((1,), np.float32),
    'half': specs.BoundedArray((1,), np.float32, 0, np.inf),
    'wide': specs.BoundedArray(
      (1,), np.float32, np.finfo(np.float32).min, np.finfo(np.float32).max
    ),
  }
  environment = _normalize(**leaves)
  assert environment.observation_spec() == leaves
  given = specs.zeros_like(leaves)
  for name, array in environment.observe(given).items():
    assert array is given[name]


def test_refuses_bounds_that_leave_no_room():
  with pytest.raises(ValueError, match=r"'still'.*expected a range"):
    _normalize(x=specs.BoundedArray((1,), np.float32, 1, 1, name='still'))
