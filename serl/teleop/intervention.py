"""A person who takes over from a policy and gives back."""

from collections.abc import Callable
import time
from typing import Any

import dm_env
import numpy as np

from serl import core
from serl import specs
from serl import types
from serl.teleop import devices

TAG = types.INTERVENED


class InterventionActor:
  """Another actor, overruled by a person while that person moves a device.

  What it returns is what is executed, so that it is what is stored;
  `step_extras` tags the steps in which the person acted. When they let go, the
  arm stays for a moment and only then is the other actor's again.
  """

  def __init__(
    self,
    actor: core.Actor,
    open_device: Callable[[], devices.Device],
    spec: specs.BoundedArray,
    scale: float = 1.0,
    closes: int = -1,
    hold_s: float = 0.5,
    to_policy_frame: Callable[[np.ndarray], np.ndarray] = devices.unchanged,
    now: Callable[[], float] = time.monotonic,
  ):
    """Initialises the actor and opens the device.

    Args:
      actor: acts where the person does not; it sees all steps.
      open_device: opens what the person moves, see `devices.LastingDevice`.
      spec: of the action, see `devices.make_action`.
      scale: of the person's motion, likewise.
      closes: the sign of actions that close the gripper, likewise.
      hold_s: how long the person is in charge after the last motion, s.
      to_policy_frame: to that of the actions, likewise.
      now: a clock, s.

    Raises:
      DeviceError: there is no device.
      ValueError: actions of this spec cannot be driven by one.
    """
    self._actor = actor
    self._hold_s = hold_s
    self._now = now
    self._arguments = {
      'spec': spec,
      'scale': scale,
      'closes': closes,
      'to_policy_frame': to_policy_frame,
    }
    devices.make_action(
      devices.Command(np.zeros(6, np.float32), 0), **self._arguments
    )
    self._device = devices.LastingDevice(open_device)
    self._begin()

  def _begin(self) -> None:
    self._in_charge_until = -np.inf
    self._intervened = False
    self._steps = 0
    self._intervened_steps = 0
    self._interventions = 0

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns the person's action while they are in charge, else the actor's.

    Raises:
      FaultError: the device is gone: nobody could take over any more.
    """
    command = self._device.read()
    if command.moves:
      self._in_charge_until = self._now() + self._hold_s
    before, self._intervened = (
      self._intervened,
      self._now() < self._in_charge_until,
    )
    self._steps += 1
    if not self._intervened:
      return self._actor.select_action(observation)
    self._intervened_steps += 1
    self._interventions += not before
    return devices.make_action(command, **self._arguments)

  def prepare(self) -> None:
    """Opens a device that was gone.

    Raises:
      FaultError: it is still gone: no arm may move that nobody could take over.
    """
    self._device.prepare()

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode.

    Raises:
      FaultError: the device is gone.
    """
    self._begin()
    self._device.begin_episode()
    self._actor.observe_first(timestep)

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Lets the other actor see the step, whoever chose its action."""
    self._actor.observe(action, next_timestep)

  def update(self) -> None:
    """Lets the other actor take newer parameters."""
    self._actor.update()

  def step_extras(self) -> dict[str, np.generic]:
    """Returns 'intervened', whether the person chose the last action."""
    return {TAG: np.uint8(self._intervened)}

  def metrics(self) -> dict[str, Any]:
    """Returns the actor's metrics and how much of the episode was overruled.

    'interventions' counts them; 'intervened' is their share of the steps;
    'intervention_length' is how many steps they took on average.
    """
    has_metrics = isinstance(self._actor, core.HasMetrics)
    told = {
      **(self._actor.metrics() if has_metrics else {}),
      'interventions': self._interventions,
      'intervened': self._intervened_steps / max(self._steps, 1),
    }
    if self._interventions:
      length = self._intervened_steps / self._interventions
      told['intervention_length'] = length
    return told

  def close(self) -> None:
    """Lets go of the device."""
    self._device.close()
