"""The same action for several steps."""

import numbers

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base
from serl.environments.wrappers import several_steps


class ActionRepeat(base.EnvironmentWrapper):
  """Executes each action `repeats` times, as one step.

  The rewards of the steps are added, and the end of the episode ends the
  repetition; see `several_steps.execute`. Benchmarks of dm_control state their
  repeats: the agent decides, and is counted, once for several steps.
  """

  def __init__(self, environment: dm_env.Environment, repeats: int):
    """Wraps `environment`.

    Args:
      environment: takes any actions.
      repeats: steps of one action, at least 1.

    Raises:
      ValueError: `repeats` is another number.
    """
    super().__init__(environment)
    if isinstance(repeats, bool) or not (
      isinstance(repeats, numbers.Integral) and repeats >= 1
    ):
      raise ValueError(f'repeats={repeats!r}; expected 1 step or more.')
    self._repeats = int(repeats)

  def reward_spec(self) -> specs.Array:
    return several_steps.reward_spec(self._environment, self._repeats)

  @property
  def control_timestep(self) -> float:
    """The time of one action with its repetitions, s."""
    return self._repeats * base.control_timestep(self._environment)

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return several_steps.execute(self._environment, [action] * self._repeats)
