"""What scripted experts have in common."""

import dm_env
import numpy as np

from serl import types


class Expert:
  """A `core.Actor` that knows its task: a subclass defines `select_action`."""

  def __init__(self, noise: float, seed: int):
    """Initialises the expert.

    Args:
      noise: standard deviation of the Gaussian noise in its actions.
      seed: of what it draws.

    Raises:
      ValueError: if the noise is negative.
    """
    if not noise >= 0:
      raise ValueError(f'noise={noise}; expected a standard deviation >= 0.')
    self._noise = noise
    self._rng = np.random.default_rng(seed)

  def begin(self) -> None:
    """Begins a new attempt."""

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins a new attempt."""
    self.begin()

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Learns nothing."""

  def update(self) -> None:
    """Has no parameters."""
