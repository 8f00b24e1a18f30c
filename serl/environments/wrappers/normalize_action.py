"""Actions in [-1, 1], whatever the environment's bounds are."""

import dm_env
from dm_env import specs
import numpy as np

from serl import conformance
from serl.environments.wrappers import base


class NormalizeAction(base.EnvironmentWrapper):
  """Maps actions in [-1, 1] to the bounds of the environment."""

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`.

    Raises:
      ValueError: its actions have no finite bounds or are no real numbers.
    """
    super().__init__(environment)
    spec = environment.action_spec()
    if not (
      isinstance(spec, specs.BoundedArray)
      and spec.dtype.kind == 'f'
      # NaN is no bound, nor is what stands for none: 1e10 in MuJoCo, or the
      # range of a type.
      and (np.abs(spec.minimum) < conformance.LARGEST).all()
      and (np.abs(spec.maximum) < conformance.LARGEST).all()
    ):
      raise ValueError(
        f'The action is {spec}; expected one array of real numbers with finite '
        'bounds, as there is nothing else to scale by.'
      )
    self._spec = spec
    self._low = np.asarray(spec.minimum, np.float64)
    self._high = np.asarray(spec.maximum, np.float64)

  def action_spec(self) -> specs.BoundedArray:
    spec = self._spec
    return specs.BoundedArray(spec.shape, spec.dtype, -1, 1, name=spec.name)

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps with the action in the environment's units."""
    share = (np.asarray(action, np.float64) + 1) / 2
    # In this order -1 and 1 become the bounds exactly.
    scaled = (1 - share) * self._low + share * self._high
    return self._environment.step(scaled.astype(self._spec.dtype))
