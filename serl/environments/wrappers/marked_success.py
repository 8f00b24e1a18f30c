"""A person's word for reward and end of an episode."""

from collections.abc import Callable
from typing import Any

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base


class MarkedSuccess(base.EnvironmentWrapper):
  """Rewards with 1, and ends the episode, when somebody says that it succeeded.

  For tasks whose success no measurement tells. Elsewhere the reward is 0. Such
  an end is a termination: LAST with discount 0. `episode_metrics` and
  `step_extras` tell 'success' so.
  """

  def __init__(
    self, environment: dm_env.Environment, was_marked: Callable[[], bool]
  ):
    """Wraps `environment`.

    Args:
      environment: of a task that does not tell its success.
      was_marked: whether success was marked since this was last asked.
    """
    super().__init__(environment)
    self._was_marked = was_marked
    self._no_discount = environment.discount_spec().dtype.type(0.0)
    self._success = False

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode, which what was marked before has no part in."""
    timestep = self._environment.reset()
    self._was_marked()
    self._success = False
    return timestep

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps, and ends the episode if success was marked meanwhile."""
    if self._success:
      return self.reset()
    timestep = self._environment.step(action)
    if timestep.first():
      return timestep
    self._success = self._was_marked()
    if self._success:
      return dm_env.TimeStep(
        dm_env.StepType.LAST,
        np.float32(1.0),
        self._no_discount,
        timestep.observation,
      )
    return timestep._replace(reward=np.float32(0.0))

  def reward_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='reward')

  def episode_metrics(self) -> dict[str, float]:
    """Returns the environment's metrics, and 'success' as it was marked."""
    tell = getattr(self._environment, 'episode_metrics', dict)
    return {**tell(), 'success': float(self._success)}

  def step_extras(self) -> dict[str, Any]:
    """Returns the environment's extras, and 'success' as it was marked."""
    tell = getattr(self._environment, 'step_extras', dict)
    return {**tell(), 'success': np.uint8(self._success)}
