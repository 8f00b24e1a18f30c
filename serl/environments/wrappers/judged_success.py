"""Reward and end of an episode by another's word than the environment's."""

from typing import Any

import dm_env
from dm_env import specs
import numpy as np

from serl import core
from serl import types
from serl.environments.wrappers import base


class JudgedSuccess(base.EnvironmentWrapper):
  """Rewards with 1, and ends the episode, where a subclass sees success.

  Elsewhere the reward is 0. Such an end is a termination: LAST with discount 0.
  The environment's own ends stay as they are, its own reward is dropped.

  Where the environment is a `core.HasDemandPictures`, such an end demands its
  pictures.
  """

  def __init__(self, environment: dm_env.Environment):
    super().__init__(environment)
    self._no_discount = environment.discount_spec().dtype.type(0.0)
    self._success = False  # the present episode ended by it

  def judge(self, observation: types.NestedArray) -> bool:
    """Returns whether the last step, which led to this, was a success."""
    raise NotImplementedError

  def begin(self) -> None:
    """Is told that an episode begins; its first observation is not judged."""

  def reset(self) -> dm_env.TimeStep:
    return self._begun(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps and has it judged what came of it."""
    if self._success:
      return self.reset()
    timestep = self._environment.step(action)
    if timestep.first():
      return self._begun(timestep)
    if not self.judge(timestep.observation):
      return timestep._replace(reward=np.float32(0.0))
    if not timestep.last():
      self._demand_pictures()
    self._success = True
    return dm_env.TimeStep(
      dm_env.StepType.LAST,
      np.float32(1.0),
      self._no_discount,
      timestep.observation,
    )

  def reward_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='reward')

  def step_extras(self) -> dict[str, Any]:
    """Returns the environment's extras, where it has some."""
    if not isinstance(self._environment, core.HasStepExtras):
      return {}
    return dict(self._environment.step_extras())

  def _demand_pictures(self) -> None:
    if isinstance(self._environment, core.HasDemandPictures):
      self._environment.demand_pictures()

  def _begun(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    self._success = False
    self.begin()
    return timestep
