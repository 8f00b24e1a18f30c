"""For tasks in which the gripper stays as it is."""

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base


class GripperClosed(base.EnvironmentWrapper):
  """Takes the gripper, the last entry, out of the actions; nothing moves it."""

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`.

    Args:
      environment: takes actions [A] of which the last is the gripper's and asks
        nothing of it at 0.

    Raises:
      ValueError: its actions are no vector of two or more, or are chunks.
    """
    super().__init__(environment)
    base.demand_single_actions(environment)
    spec = environment.action_spec()
    if len(spec.shape) != 1 or spec.shape[0] < 2:
      raise ValueError(
        f'The actions have shape {spec.shape}; expected [A] with the gripper '
        'as the last.'
      )
    minimum, maximum = (
      np.broadcast_to(bound, spec.shape)[:-1]
      for bound in (spec.minimum, spec.maximum)
    )
    self._spec = spec.replace(
      shape=(spec.shape[0] - 1,), minimum=minimum, maximum=maximum
    )

  def action_spec(self) -> specs.BoundedArray:
    return self._spec

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    action = np.asarray(action)
    if action.shape != self._spec.shape:
      raise ValueError(
        f'The action has shape {action.shape}; expected {self._spec.shape}, '
        'without the gripper.'
      )
    return self._environment.step(np.append(action, action.dtype.type(0)))
