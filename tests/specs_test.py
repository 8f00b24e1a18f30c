"""Tests for specs."""

import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import base
from serl.testing import fakes


@pytest.mark.parametrize(
  'dtype, shape',
  [(np.float32, (8, 8, 3)), (np.uint16, (8, 8, 1)), (np.uint8, (1,) * 5)],
)
def test_what_has_the_shape_of_an_image_must_be_bytes(dtype, shape):
  specs.check_images(fakes.make_image_spec().observations)
  with pytest.raises(ValueError, match=r'observation a/b is .* expected uint8'):
    specs.check_images({'a': {'b': specs.Array(shape, dtype)}})


@pytest.mark.parametrize(
  'spec',
  [
    fakes.make_image_spec().observations,
    fakes.make_state_spec().observations,
    fakes.make_state_spec().actions,
    specs.BoundedArray((2,), np.float32, [-1.0, -0.1], [1.0, 0.3]),
  ],
)
def test_a_described_spec_comes_back(spec):
  described = specs.to_dict(spec)
  again = specs.from_dict(described)
  assert specs.to_dict(again) == described
  for path, leaf in specs.flatten(again).items():
    assert leaf == specs.flatten(spec)[path]


@pytest.mark.parametrize('timestep', [0.02, lambda: 0.02])
def test_the_rate_is_that_of_the_environments_clock(timestep):
  environment = fakes.FakeEnvironment(fakes.make_state_spec())
  assert specs.steps_per_second(environment) is None
  environment.control_timestep = timestep
  assert specs.steps_per_second(environment) == 50
  assert specs.steps_per_second(base.EnvironmentWrapper(environment)) == 50


def test_bounds_become_specs_of_floats():
  made = specs.bounded({'x': (np.array((-1.0, 0.1)), np.array((1.0, 2.0)))})
  assert made == {
    'x': specs.BoundedArray(
      (2,), np.float32, np.float32((-1.0, 0.1)), np.float32((1.0, 2.0)), 'x'
    )
  }
