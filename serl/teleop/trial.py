"""A person's devices tried out: whether they report what is done to them."""

from collections.abc import Callable, Mapping
import dataclasses
import time

import numpy as np

from serl.teleop import devices

_MEANT = 0.2  # of the farthest that an axis moves: a person meant it
_LOOK_S = 0.02
_AXES = ('x', 'y', 'z', 'about x', 'about y', 'about z')


@dataclasses.dataclass
class Motion:
  """What a device has asked for so far."""

  farthest: np.ndarray  # [6] in [-1, 1], as `devices.Command.motion`
  closing: int = 0  # of its buttons, as `devices.Command.closing`
  goes_on: bool = False  # at the last look

  @property
  def was_seen(self) -> bool:
    """Whether a person has moved the device and let go of it."""
    return not self.goes_on and np.abs(self.farthest).max() >= _MEANT

  def look(self, command: devices.Command) -> None:
    """Takes in what is asked for now."""
    farther = np.abs(command.motion) > np.abs(self.farthest)
    self.farthest = np.where(farther, command.motion, self.farthest)
    self.closing = command.closing or self.closing
    self.goes_on = bool(command.motion.any())

  def __str__(self) -> str:
    parts = [f'{a} {f:+.2f}' for a, f in zip(_AXES, self.farthest) if f]
    if self.closing:
      parts.append('closes' if self.closing > 0 else 'opens')
    if self.goes_on:
      parts.append('and it goes on')
    elif not self.was_seen:
      parts.append('no clear motion')
    return ', '.join(parts)


def watch(
  opened: Mapping[str, devices.Device],
  seconds: float,
  show: Callable[[str], None],
) -> dict[str, Motion]:
  """Returns what was seen of each device.

  It returns when each was moved and let go of, at the latest after `seconds`.

  Args:
    opened: devices by their names.
    seconds: that a person has to move them.
    show: is given what was seen so far, again and again.

  Raises:
    DeviceError: one is gone.
  """
  seen = {name: Motion(np.zeros(6)) for name in opened}
  deadline = time.monotonic() + seconds
  while time.monotonic() < deadline:
    for name, device in opened.items():
      seen[name].look(device.read())
    if all(motion.was_seen for motion in seen.values()):
      break
    show(describe(seen))
    time.sleep(_LOOK_S)
  return seen


def describe(seen: Mapping[str, Motion]) -> str:
  """Returns what was seen of devices, a line for each."""
  return '\n'.join(f'{name}: {motion}' for name, motion in seen.items())
