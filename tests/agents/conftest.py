"""A small task for the agents' tests."""

import jax
import numpy as np
import pytest

from serl import specs
from serl import types


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

  def make(lead, seed=0, discount=1.0):
    random = np.random.default_rng(seed)

    def draw(leaf):
      return random.uniform(-1, 1, (*lead, *leaf.shape)).astype(np.float32)

    return types.Batch.uniform(
      types.Transition(
        observation=jax.tree.map(draw, spec.observations),
        action=draw(spec.actions),
        reward=draw(spec.rewards),
        discount=np.full(lead, discount, np.float32),
        next_observation=jax.tree.map(draw, spec.observations),
      )
    )

  return make
