"""Actions in [-1, 1], whatever the environment's bounds are."""

import dm_env
from dm_env import specs
import numpy as np

from serl.environments.wrappers import base


class NormalizeAction(base.EnvironmentWrapper):
  """Maps actions in [-1, 1] to the bounds of the environment."""

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`.

    Raises:
      ValueError: its actions have no finite bounds.
    """
    super().__init__(environment)
    spec = environment.action_spec()
    if not isinstance(spec, specs.BoundedArray) or not (
      np.isfinite(spec.minimum).all() and np.isfinite(spec.maximum).all()
    ):
      raise ValueError(
        f'The action is {spec}; expected one array with finite bounds, as '
        'there is nothing else to scale by.'
      )
    self._spec = spec
    self._low = np.asarray(spec.minimum, np.float64)
    self._half_range = (spec.maximum - self._low) / 2

  def action_spec(self) -> specs.BoundedArray:
    spec = self._spec
    return specs.BoundedArray(spec.shape, spec.dtype, -1, 1, name=spec.name)

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps with the action in the environment's units."""
    scaled = self._low + (np.asarray(action) + 1) * self._half_range
    return self._environment.step(scaled.astype(self._spec.dtype))
