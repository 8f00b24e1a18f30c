"""Devices by name, and taking over from a policy by one."""

from collections.abc import Callable
import functools

import dm_env

from serl import core
from serl.teleop import devices
from serl.teleop import gamepad
from serl.teleop import intervention
from serl.teleop import keyboard

NAMES = ('keyboard', 'spacemouse', 'gamepad')


def open_device(name: str) -> devices.Device:
  """Opens a device.

  Args:
    name: one of `NAMES`; the keyboard is that of the terminal, the gamepad
      the environment's SERL_GAMEPAD or the first joystick.

  Raises:
    DeviceError: there is none.
    ValueError: there is no such name.
  """
  if name == 'keyboard':
    return keyboard.Keyboard().__enter__()
  if name == 'gamepad':
    return gamepad.Gamepad()
  if name != 'spacemouse':
    raise ValueError(
      f'Unknown device {name!r}; expected one of {", ".join(NAMES)}.'
    )
  try:
    # Its libraries are only on the robot's computer.
    from serl.teleop import spacemouse
  except (ImportError, OSError) as error:
    raise devices.DeviceError(
      f"{error}; the SpaceMouse needs pip install 'serl[franka]'"
    ) from error
  return spacemouse.SpaceMouse()


class Shared:
  """A device that several actors of a process take in turn.

  To call it opens the device, unless it is open; who closes it closes it for
  all, and the others find it gone.
  """

  def __init__(self, open_device: Callable[[], devices.Device]):
    """Initialises it; nothing is opened yet."""
    self._open_device = open_device
    self._device: devices.Device | None = None

  def __call__(self) -> 'Shared':
    """Opens the device if need be.

    Raises:
      DeviceError: there is none.
    """
    if self._device is None:
      self._device = self._open_device()
    return self

  @property
  def device(self) -> devices.Device | None:
    """What is open, None while nothing is."""
    return self._device

  def read(self) -> devices.Command:
    """Returns what is asked for now.

    Raises:
      DeviceError: the device is gone.
    """
    if self._device is None:
      raise devices.DeviceError('The device of the person was closed.')
    return self._device.read()

  def begin_episode(self) -> None:
    """Tells the device that an episode begins, if it is open."""
    devices.begin_episode(self._device)

  def close(self) -> None:
    """Lets go of the device."""
    if self._device is not None:
      self._device.close()
      self._device = None


@functools.cache
def share(name: str) -> Shared:
  """Returns what opens the device of a name for all who ask in this process."""
  return Shared(functools.partial(open_device, name))


def intervene(
  actor: core.Actor,
  environment: dm_env.Environment,
  open_device: Callable[[], devices.Device],
  scale: float = 1.0,
) -> intervention.InterventionActor:
  """Returns `actor`, overruled by a person while they move a device.

  Args:
    actor: acts where the person does not.
    environment: that it acts in.
    open_device: opens the device, see `devices.LastingDevice`.
    scale: of the person's motion.

  Raises:
    DeviceError: there is no device.
    ValueError: the environment's actions cannot be driven by one.
  """
  return intervention.InterventionActor(
    actor,
    open_device,
    scale=scale,
    **devices.conventions(environment),
  )
