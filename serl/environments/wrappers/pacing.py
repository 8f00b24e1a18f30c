"""Runs an environment at its control rate."""

from collections.abc import Callable
import math
import time

import dm_env
import numpy as np

from serl.environments.wrappers import base


class RealTime(base.EnvironmentWrapper):
  """Makes a simulation take the time that the real thing would.

  Each step ends at a deadline a period after the one before, whatever the agent
  and the simulation needed in between: what one step loses the next ones gain.
  A step past its deadline is counted as late. One that is later than a whole
  period starts the schedule anew, else a stall would be followed by a rush.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    period_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
  ):
    """Wraps `environment`.

    Args:
      environment: to be slowed down.
      period_s: of one step, s.
      clock: returns the time, s.
      sleep: waits for a time, s.

    Raises:
      ValueError: if the period is not positive and finite.
    """
    if not 0 < period_s < math.inf:
      raise ValueError(f'period_s={period_s}; expected a positive time in s.')
    super().__init__(environment)
    self._period_s = period_s
    self._clock = clock
    self._sleep = sleep
    self._deadline = 0.0
    self._late_steps = 0

  def reset(self) -> dm_env.TimeStep:
    """Resets without waiting; the schedule begins when it has returned."""
    return self._begin(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps and returns at the deadline, or at once when it has passed."""
    timestep = self._environment.step(action)
    if timestep.first():
      return self._begin(timestep)
    wait = self._deadline - self._clock()
    self._deadline += self._period_s
    if wait > 0:
      self._sleep(wait)
    elif wait < 0:
      self._late_steps += 1
      if wait <= -self._period_s:
        self._deadline = self._clock() + self._period_s
    return timestep

  def episode_metrics(self) -> dict[str, float]:
    """Returns the environment's metrics and the count 'late_steps'."""
    return {
      **super().episode_metrics(),
      'late_steps': float(self._late_steps),
    }

  def _begin(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    self._late_steps = 0
    self._deadline = self._clock() + self._period_s
    return timestep
