"""Several steps of an environment as one."""

from collections.abc import Iterable

import dm_env
from dm_env import specs
import numpy as np


def execute(
  environment: dm_env.Environment, actions: Iterable[np.ndarray]
) -> dm_env.TimeStep:
  """Executes actions one after another and returns their one timestep.

  Of the steps k, with rewards r_k and discounts d_k, it has

    reward = r_0 + d_0 r_1 + d_0 d_1 r_2 + ...
    discount = d_0 d_1 d_2 ...

  and the last observation. The end of the episode ends it: the actions that
  are left are not executed. Where the first step begins an episode, that is
  all.
  """
  reward, discount = 0.0, 1.0
  for action in actions:
    timestep = environment.step(action)
    if timestep.first():
      return timestep
    reward += discount * timestep.reward
    discount *= timestep.discount
    if timestep.last():
      break
  return timestep._replace(
    reward=np.asarray(reward, environment.reward_spec().dtype)[()],
    discount=np.asarray(discount, environment.discount_spec().dtype)[()],
  )


def reward_spec(environment: dm_env.Environment, steps: int) -> specs.Array:
  """Returns the spec of the reward of up to `steps` steps."""
  spec = environment.reward_spec()
  if not isinstance(spec, specs.BoundedArray):
    return spec
  # The first reward counts in full, the others do so or not at all.
  others = steps - 1
  return spec.replace(
    minimum=spec.minimum + others * np.minimum(spec.minimum, 0),
    maximum=spec.maximum + others * np.maximum(spec.maximum, 0),
  )
