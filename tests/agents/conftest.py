"""A small task for the agents' tests."""

import functools

import numpy as np
import pytest

from serl import specs
from serl.testing import fakes


@pytest.fixture
def spec():
  """Six numbers of state in two arrays, two actions."""
  return specs.EnvironmentSpec(
    observations={
      'position': specs.BoundedArray((3,), np.float32, 0.0, 2.0),
      'velocity': specs.Array((3,), np.float32),
    },
    actions=specs.BoundedArray((2,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


@pytest.fixture
def make_batch(spec):
  """Makes a batch of random numbers with the given leading axes."""
  return functools.partial(fakes.make_batch, spec)
