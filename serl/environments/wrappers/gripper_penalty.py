"""A small cost when the gripper switches."""

from collections.abc import Callable

import dm_env
from dm_env import specs
import numpy as np

from serl import types
from serl.environments.wrappers import base


def half_closed(observation: types.NestedArray) -> bool:
  """Returns whether `gripper_pos`, 0 open to 1 closed, is at a half or more."""
  return bool(observation['gripper_pos'][0] >= 0.5)


class GripperPenalty(base.EnvironmentWrapper):
  """Subtracts from the reward when an action closes an open gripper, or opens
  a closed one.

  Without it policies open and close it all the time, and are slow to learn to
  grasp. SERL's authors recommend it for tasks with a gripper (rail-berkeley/
  serl, pull request 65). An action that the gripper already obeys is free.

  `episode_metrics` adds 'gripper_switches' and their cost, 'reward/gripper'.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    penalty: float = 0.1,
    index: int = -1,
    closing: float = 0.5,
    is_closed: Callable[[types.NestedArray], bool] = half_closed,
  ):
    """Wraps `environment`.

    Args:
      environment: takes actions [A].
      penalty: subtracted for a switch.
      index: of the gripper in the action.
      closing: closes from this action on, opens from its opposite on; between
        them nothing is asked of the gripper. Positive where larger actions
        close, as in PickCube; negative where they open, as on the real arm.
      is_closed: the observation that is acted on -> whether the gripper is
        closed.

    Raises:
      ValueError: the penalty is negative, there is no such action, or the
        threshold is 0.
    """
    super().__init__(environment)
    shape = environment.action_spec().shape
    if not penalty >= 0:
      raise ValueError(f'penalty={penalty}; expected a cost of 0 or more.')
    if len(shape) != 1 or not -shape[0] <= index < shape[0]:
      raise ValueError(
        f'index={index}; the actions have shape {shape}, expected one [A] that '
        'the gripper is in.'
      )
    if not abs(closing) > 0:
      raise ValueError(f'closing={closing}; expected an action that is not 0.')
    self._penalty = penalty
    self._index = index
    self._closing = closing
    self._is_closed = is_closed
    self._closed = False
    self._switches = 0

  def reset(self) -> dm_env.TimeStep:
    return self._begin(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    timestep = self._environment.step(action)
    if timestep.first():
      return self._begin(timestep)
    asked = np.asarray(action)[self._index] / self._closing
    switched = bool(asked <= -1 if self._closed else asked >= 1)
    self._closed = self._is_closed(timestep.observation)
    if not switched:
      return timestep
    self._switches += 1
    dtype = self._environment.reward_spec().dtype
    reward = dtype.type(timestep.reward - self._penalty)
    return timestep._replace(reward=reward)

  def reward_spec(self) -> specs.Array:
    spec = self._environment.reward_spec()
    if not isinstance(spec, specs.BoundedArray):
      return spec
    return spec.replace(minimum=spec.minimum - self._penalty)

  def episode_metrics(self) -> dict[str, float]:
    """Returns the environment's metrics, the switches and their cost."""
    return {
      **super().episode_metrics(),
      'gripper_switches': float(self._switches),
      'reward/gripper': -self._penalty * self._switches,
    }

  def _begin(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    self._switches = 0
    self._closed = self._is_closed(timestep.observation)
    return timestep
