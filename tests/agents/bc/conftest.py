"""Demonstrations with a gripper that closes in 2 of 100 steps."""

import numpy as np
import pytest

from serl import specs
from serl import types

_STEPS = 100
_CLOSING = 60  # and the step after it
_NEAR = 10  # steps before and after, when the height is in the sensor's range


@pytest.fixture
def grasp_spec():
  """The height above an object; one movement and a gripper."""
  return specs.EnvironmentSpec(
    observations={'height': specs.BoundedArray((1,), np.float32, 0.0, 1.0)},
    actions=specs.BoundedArray((2,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


@pytest.fixture
def grasps():
  """Four episodes: down to the object, close for two steps, and up again."""

  def make(seed):
    random = np.random.default_rng(seed)
    time = np.arange(_STEPS + 1)
    height = np.abs(time - _CLOSING - 0.5) / _NEAR
    action = np.zeros((_STEPS, 2), np.float32)
    action[:, 0] = np.where(time[:-1] < _CLOSING, -0.5, 0.5)
    action[:, 0] += random.normal(scale=0.1, size=_STEPS)
    action[_CLOSING : _CLOSING + 2, 1] = -1.0
    return types.Episode(
      observation={'height': height[:, None].clip(0, 1).astype(np.float32)},
      action=action,
      reward=np.zeros(_STEPS, np.float32),
      discount=np.ones(_STEPS, np.float32),
    )

  return [make(seed) for seed in range(4)]
