"""The last check of an action before something moves."""

from typing import Any

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base


def guard_action(action: Any, spec: specs.BoundedArray) -> np.ndarray:
  """Returns `action` in the dtype and within the bounds of `spec`.

  Args:
    action: numbers of exactly the shape of `spec`. Out-of-range ones are
      clipped: policies and people overshoot.
    spec: of the action.

  Raises:
    ValueError: if the shape is another, or if an entry is not a finite number.
  """
  array = np.asarray(action)
  if array.shape != spec.shape or array.dtype.kind not in 'iuf':
    raise ValueError(
      f'The action {action!r} has shape {array.shape} and dtype {array.dtype}; '
      f'expected {spec.shape} real numbers ({spec.dtype}).'
    )
  if not np.isfinite(array).all():
    raise ValueError(
      f'The action {action!r} holds NaN or infinity; expected finite numbers, '
      f'of shape {spec.shape}. Nothing has moved. Look for a diverged policy.'
    )
  clipped = np.minimum(np.maximum(array, spec.minimum), spec.maximum)
  return clipped.astype(spec.dtype, copy=False)


class ActionGuard(base.EnvironmentWrapper):
  """Refuses malformed actions and clips out-of-range ones."""

  def __init__(self, environment: dm_env.Environment):
    super().__init__(environment)
    self._spec = environment.action_spec()

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps with the clipped action.

    Raises:
      ValueError: if the action is not finite numbers of the spec's shape; the
        environment has not been stepped.
    """
    return self._environment.step(guard_action(action, self._spec))
