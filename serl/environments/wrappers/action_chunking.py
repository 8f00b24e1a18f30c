"""Several actions decided upon at once."""

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base


class ActionChunking(base.EnvironmentWrapper):
  """Executes `horizon` actions, one after another, as one step.

  An action is [horizon * A], the first to be executed first. Of the chunk's
  steps k, with rewards r_k and discounts d_k, it gives

    reward = r_0 + d_0 r_1 + d_0 d_1 r_2 + ...
    discount = d_0 d_1 d_2 ...

  These are the environment's discounts, as in dm_env: 0 at a termination and 1
  everywhere else, so that the reward is the plain sum. The agent's own discount
  is applied to it once a chunk: choose that one for `horizon` steps. The end of
  the episode ends a chunk; its other actions are not executed.
  """

  def __init__(self, environment: dm_env.Environment, horizon: int):
    """Wraps `environment`.

    Args:
      environment: takes actions [A] with bounds.
      horizon: actions in a chunk.

    Raises:
      ValueError: the horizon is none, or the actions are something else.
    """
    super().__init__(environment)
    if horizon < 1:
      raise ValueError(f'horizon={horizon}; expected at least 1.')
    inner = environment.action_spec()
    if not isinstance(inner, specs.BoundedArray) or len(inner.shape) != 1:
      raise ValueError(f'The action is {inner}; expected bounded numbers [A].')
    self._horizon = horizon
    minimum, maximum = (
      np.tile(np.broadcast_to(bound, inner.shape), horizon)
      for bound in (inner.minimum, inner.maximum)
    )
    self._spec = specs.BoundedArray(
      minimum.shape, inner.dtype, minimum, maximum, name=inner.name
    )

  def action_spec(self) -> specs.BoundedArray:
    return self._spec

  def reward_spec(self) -> specs.Array:
    spec = self._environment.reward_spec()
    if not isinstance(spec, specs.BoundedArray):
      return spec
    # The first reward counts in full, the others do so or not at all.
    others = self._horizon - 1
    return spec.replace(
      minimum=spec.minimum + others * np.minimum(spec.minimum, 0),
      maximum=spec.maximum + others * np.maximum(spec.maximum, 0),
    )

  @property
  def actions_per_step(self) -> int:
    """How many of the environment's actions are one of these."""
    return self._horizon * getattr(self._environment, 'actions_per_step', 1)

  @property
  def control_timestep(self) -> float:
    """The time of one chunk, s."""
    return self._horizon * self._environment.control_timestep

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Executes a chunk; begins an episode where the last one is over.

    Raises:
      ValueError: the action has another shape; nothing was executed.
    """
    action = np.asarray(action)
    if action.shape != self._spec.shape:
      raise ValueError(
        f'The action has shape {action.shape}; expected {self._spec.shape}, '
        f'{self._horizon} actions in a row.'
      )
    spec = self._environment.reward_spec()
    reward, discount = 0.0, 1.0
    for part in np.split(action, self._horizon):
      timestep = self._environment.step(part)
      if timestep.first():
        return timestep
      reward += discount * timestep.reward
      discount *= timestep.discount
      if timestep.last():
        break
    return timestep._replace(
      reward=np.asarray(reward, spec.dtype)[()],
      discount=np.asarray(discount, self.discount_spec().dtype)[()],
    )
