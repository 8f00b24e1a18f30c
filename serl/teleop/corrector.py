"""A script that corrects a policy as a person would, to measure the effect."""

from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from serl import core
from serl.teleop import devices
from serl.teleop import intervention

# Of an action: from there on it asks something of the gripper.
_ASKS = 0.5


class Corrector:
  """A `devices.Device` that an expert moves when the policy takes too long.

  In an episode that has not ended after `patience` steps it brings the task to
  its end. So a policy that knows the task is left alone. Tasks that alternate
  have one each, for their own episodes.
  """

  def __init__(
    self,
    make_expert: Callable[..., core.Actor],
    environment: dm_env.Environment,
    patience: int,
  ):
    """Initialises the corrector.

    Args:
      make_expert: takes the keyword environment.
      environment: on the twin: its `scene` knows the task in work.
      patience: steps of an episode that the policy has for itself.

    Raises:
      ValueError: the patience is negative.
    """
    if patience < 0:
      raise ValueError(f'patience={patience}; expected steps, 0 or more.')
    self._expert = make_expert(environment=_InBaseFrame(environment))
    self._closes = environment.gripper_closes
    self._patience = patience
    self.begin_episode()

  def begin_episode(self) -> None:
    """Leaves the next steps to the policy."""
    self.steps = 0  # of the episode
    self._begun = False

  def read(self) -> devices.Command:
    """Returns the expert's motion, or none."""
    self.steps += 1
    if self.steps <= self._patience:
      return devices.Command(np.zeros(6, np.float32), 0)
    if not self._begun:
      self._begun = True
      self._expert.observe_first(dm_env.restart({}))
    action = self._expert.select_action({})
    asked = action[6] * self._closes if len(action) > 6 else 0.0
    closing = int(np.sign(asked)) if abs(asked) >= _ASKS else 0
    return devices.Command(action[:6], closing)

  def close(self) -> None:
    """Has nothing to let go of."""


class _InBaseFrame:
  """An environment's scene alone: like a person one acts along the base's axes.

  Asked each time: of tasks that alternate it is the present one's.
  """

  def __init__(self, environment: dm_env.Environment):
    self._environment = environment

  @property
  def scene(self) -> Any:
    return self._environment.scene


def correct(
  actor: core.Actor,
  environment: dm_env.Environment,
  make_expert: Callable[..., core.Actor],
  patience: int,
) -> intervention.InterventionActor:
  """Returns `actor`, overruled by an expert where it takes too long.

  Args:
    actor: acts first.
    environment: that it acts in, on the twin.
    make_expert: takes the keyword environment.
    patience: steps of an episode that the actor has for itself.
  """
  corrector = Corrector(make_expert, environment, patience)
  return intervention.InterventionActor(
    actor,
    lambda: corrector,
    # Its word counts for one step, and steps are its clock.
    hold_s=0.5,
    now=lambda: corrector.steps,
    **devices.conventions(environment),
  )
