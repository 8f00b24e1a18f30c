"""Several actions decided upon at once."""

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base
from serl.environments.wrappers import several_steps


class ActionChunking(base.EnvironmentWrapper):
  """Executes `horizon` actions, one after another, as one step.

  An action is [horizon * A], the first to be executed first. What a chunk's
  steps come to is in `several_steps.execute`.

  The discounts there are the environment's, as in dm_env: 0 at a termination
  and 1 everywhere else, so that the reward is the plain sum. The agent's own
  discount is applied to it once a chunk: choose that one for `horizon` steps.
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
    return several_steps.reward_spec(self._environment, self._horizon)

  @property
  def actions_per_step(self) -> int:
    """How many of the environment's actions are one of these."""
    return self._horizon * base.actions_per_step(self._environment)

  @property
  def control_timestep(self) -> float:
    """The time of one chunk, s."""
    return self._horizon * base.control_timestep(self._environment)

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
    parts = np.split(action, self._horizon)
    return several_steps.execute(self._environment, parts)
