"""A small cost when the gripper switches."""

from collections.abc import Callable, Mapping

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
  serl, pull request 65). What the gripper already obeys is free.

  `episode_metrics` adds 'gripper_switches' and their cost, 'reward/gripper'.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    penalty: float = 0.1,
    index: int = -1,
    closing: float | None = None,
    is_closed: Callable[[types.NestedArray], bool] = half_closed,
  ):
    """Wraps `environment`.

    Args:
      environment: takes actions [A].
      penalty: subtracted for a switch.
      index: of the gripper in the action.
      closing: closes from this action on, opens from its opposite on; between
        them nothing is asked of the gripper. Negative where larger actions
        open, as on the real arm. A gripper that takes its time is so charged
        when it is asked. None where actions move it bit by bit, as in PickCube:
        charged is the step after which it is observed to be the other.
      is_closed: an observation -> whether the gripper is closed.

    Raises:
      ValueError: the penalty is negative, there is no such action, the
        threshold is 0, the actions are chunks, or the observation is none that
        the default `is_closed` knows.
    """
    super().__init__(environment)
    base.demand_single_actions(environment)
    if is_closed is half_closed:
      _demand_gripper(environment.observation_spec())
    shape = environment.action_spec().shape
    if not penalty >= 0:
      raise ValueError(f'penalty={penalty}; expected a cost of 0 or more.')
    if len(shape) != 1 or not -shape[0] <= index < shape[0]:
      raise ValueError(
        f'index={index}; the actions have shape {shape}, expected one [A] that '
        'the gripper is in.'
      )
    if closing is not None and not abs(closing) > 0:
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
    was, self._closed = self._closed, self._is_closed(timestep.observation)
    switched = self._closed != was
    if self._closing is not None:
      asked = np.asarray(action)[self._index] / self._closing
      switched = bool(asked <= -1 if was else asked >= 1)
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


def _demand_gripper(spec: types.NestedSpec) -> None:
  """Raises ValueError if `half_closed` cannot tell by such observations."""
  leaf = spec.get('gripper_pos') if isinstance(spec, Mapping) else None
  if not (
    isinstance(leaf, specs.BoundedArray)
    and np.all(leaf.minimum == 0)
    and np.all(leaf.maximum == 1)
  ):
    raise ValueError(
      f"The observation 'gripper_pos' is {leaf}; expected 0 (open) to 1 "
      '(closed): wrap the environment before others change what is observed, '
      'or give is_closed.'
    )
