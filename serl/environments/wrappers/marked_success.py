"""A person's word for reward and end of an episode."""

from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from serl import types
from serl.environments.wrappers import judged_success


class MarkedSuccess(judged_success.JudgedSuccess):
  """Ends the episode, with reward 1, when somebody says that it succeeded.

  For tasks whose success no measurement tells. `episode_metrics` and
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

  def begin(self) -> None:
    """Drops what was marked before, which the episode has no part in."""
    self._was_marked()

  def judge(self, observation: types.NestedArray) -> bool:
    return self._was_marked()

  def episode_metrics(self) -> dict[str, float]:
    """Returns the environment's metrics, and 'success' as it was marked."""
    return {**super().episode_metrics(), 'success': float(self._success)}

  def step_extras(self) -> dict[str, Any]:
    """Returns the environment's extras, and 'success' as it was marked."""
    return {**super().step_extras(), 'success': np.uint8(self._success)}
