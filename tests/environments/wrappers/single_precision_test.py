"""Whatever the environment's floats are, agents see those of 32 bits."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import single_precision
from serl.testing import fakes

_OTHER_FLOATS = (np.float64, np.float16)


def _spec(dtype):
  return specs.EnvironmentSpec(
    observations={
      'numbers': specs.BoundedArray((3,), dtype, -1, 1),
      'number': specs.Array((), dtype),
      'image': specs.BoundedArray((4, 4, 3), np.uint8, 0, 255),
      'count': specs.Array((1,), np.int64),
    },
    # A third is no number of either kind: rounding goes up and down.
    actions=specs.BoundedArray((2,), dtype, -1 / 3, [0.1, 0.7]),
    rewards=specs.Array((), dtype),
    discounts=specs.BoundedArray((), dtype, 0, 1),
  )


class SinglePrecisionTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(_spec(np.float64))
    return single_precision.SinglePrecision(environment)


@pytest.mark.parametrize('dtype', _OTHER_FLOATS)
def test_specs_and_arrays_are_of_32_bits(dtype):
  inner = fakes.FakeEnvironment(_spec(dtype))
  environment = single_precision.SinglePrecision(inner)
  spec = specs.make_environment_spec(environment)
  observed = {k: v.dtype for k, v in spec.observations.items()}
  assert observed == {
    'numbers': np.float32,
    'number': np.float32,
    'image': np.uint8,
    'count': np.int64,
  }
  assert {leaf.dtype for leaf in spec[1:]} == {np.dtype(np.float32)}
  environment.reset()
  timestep = environment.step(np.zeros(2, np.float32))
  for name, leaf in spec.observations.items():
    leaf.validate(timestep.observation[name])
  spec.rewards.validate(timestep.reward)
  spec.discounts.validate(timestep.discount)


@pytest.mark.parametrize('dtype', _OTHER_FLOATS)
def test_rounding_takes_no_action_out_of_its_bounds(dtype):
  inner = fakes.FakeEnvironment(_spec(dtype))  # it validates its actions
  environment = single_precision.SinglePrecision(inner)
  spec = environment.action_spec()
  environment.reset()
  environment.step(np.broadcast_to(spec.minimum, spec.shape))
  environment.step(np.broadcast_to(spec.maximum, spec.shape))
  # What is beyond the bounds is not this wrapper's to mend.
  with pytest.raises(ValueError):
    environment.step(np.full(2, 0.9, np.float32))


def test_the_range_of_a_type_becomes_infinity():
  largest = np.finfo(np.float64).max
  spec = _spec(np.float64)._replace(
    observations=specs.BoundedArray((1,), np.float64, -largest, largest)
  )
  environment = single_precision.SinglePrecision(fakes.FakeEnvironment(spec))
  observed = environment.observation_spec()
  assert (observed.minimum, observed.maximum) == (-np.inf, np.inf)


def test_the_first_timestep_has_no_reward():
  inner = fakes.FakeEnvironment(_spec(np.float64))
  environment = single_precision.SinglePrecision(inner)
  timestep = environment.reset()
  assert timestep.step_type == dm_env.StepType.FIRST
  assert timestep.reward is None
  assert timestep.discount is None
