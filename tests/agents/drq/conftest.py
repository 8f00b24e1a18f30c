"""A small task with two cameras."""

import functools

import numpy as np
import pytest

from serl import specs
from serl.testing import fakes


@pytest.fixture(scope='session')
def spec():
  """Two cameras of 32 x 32 and three numbers of state, two actions."""
  image = specs.BoundedArray((32, 32, 3), np.uint8, 0, 255)
  return specs.EnvironmentSpec(
    observations={
      'front': image,
      'wrist': image,
      'tcp_pos': specs.BoundedArray((3,), np.float32, -1.0, 1.0),
    },
    actions=specs.BoundedArray((2,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


@pytest.fixture(scope='session')
def make_batch(spec):
  """Makes a batch of random pixels and numbers with the given leading axes."""
  return functools.partial(fakes.make_batch, spec)
