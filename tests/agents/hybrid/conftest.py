"""A small task with a gripper that reads 0 open and 10 closed."""

import jax
import numpy as np
import pytest

from serl import specs
from serl import types
from serl.agents import sac


@pytest.fixture
def spec():
  """Two numbers of state and the gripper's; a motion and the gripper."""
  return specs.EnvironmentSpec(
    observations={
      'tcp_pos': specs.BoundedArray((2,), np.float32, -1.0, 1.0),
      'gripper_pose': specs.BoundedArray((1,), np.float32, 0.0, 10.0),
    },
    actions=specs.BoundedArray((3,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


@pytest.fixture
def make_config():
  """Makes the configuration of a small SAC."""

  def make(updates_per_round=2, **fields):
    small = {
      'batch_size': 4,
      'critic_members': 2,
      'hidden_sizes': (4,),
      'warmup_steps': 0,
    }
    return sac.SACConfig(
      updates_per_round=updates_per_round, **{**small, **fields}
    )

  return make


@pytest.fixture
def make_batch(spec):
  """Makes a batch of random numbers, the gripper open in all of it."""

  def make(lead, seed=0):
    random = np.random.default_rng(seed)

    def draw(leaf):
      return random.uniform(-1, 1, (*lead, *leaf.shape)).astype(np.float32)

    def observe():
      drawn = jax.tree.map(draw, spec.observations)
      return {**drawn, 'gripper_pose': np.zeros((*lead, 1), np.float32)}

    return types.Batch.uniform(
      types.Transition(
        observation=observe(),
        action=draw(spec.actions),
        reward=draw(spec.rewards),
        discount=np.ones(lead, np.float32),
        next_observation=observe(),
      )
    )

  return make
