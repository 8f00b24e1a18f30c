"""Times how long an episode takes to succeed."""

import dm_env
import numpy as np

from serl import specs
from serl.environments.wrappers import base


class CycleTime(base.EnvironmentWrapper):
  """Adds to `episode_metrics` when the episode first succeeded.

  'cycle_steps' and, where the environment has `control_timestep`, 'cycle_s'
  (seconds) are there once `episode_metrics` of the wrapped environment tells
  'success'.
  """

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`."""
    super().__init__(environment)
    self._steps = 0
    self._cycle_steps: int | None = None

  def reset(self) -> dm_env.TimeStep:
    return self._watch(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._watch(self._environment.step(action))

  def episode_metrics(self) -> dict[str, float]:
    """Returns what the wrapped environment tells, and the cycle's time."""
    metrics = super().episode_metrics()
    if self._cycle_steps is None:
      return metrics
    metrics['cycle_steps'] = self._cycle_steps
    timestep = specs.control_timestep(self._environment)
    if timestep is not None:
      metrics['cycle_s'] = self._cycle_steps * timestep
    return metrics

  def _watch(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    if timestep.first():
      self._steps, self._cycle_steps = 0, None
      return timestep
    self._steps += 1
    if self._cycle_steps is None and super().episode_metrics().get('success'):
      self._cycle_steps = self._steps
    return timestep
