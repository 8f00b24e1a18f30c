"""What every adapter puts around an environment."""

import dm_env

from serl.environments.wrappers import action_guard
from serl.environments.wrappers import normalize_action
from serl.environments.wrappers import single_precision


def agent_ready(environment: dm_env.Environment) -> dm_env.Environment:
  """Returns the environment as agents expect one.

  It observes, rewards and acts in float32. Its actions are in [-1, 1], clipped
  to that, and refused where they are not finite.

  Raises:
    ValueError: its actions have no finite bounds or are no real numbers.
  """
  normalized = normalize_action.NormalizeAction(environment)
  single = single_precision.SinglePrecision(normalized)
  return action_guard.ActionGuard(single)
