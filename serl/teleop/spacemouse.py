"""The SpaceMouse: six axes and two buttons."""

from collections.abc import Iterator
import threading
import time

import easyhid
import numpy as np
import pyspacemouse

from serl.teleop import devices
from serl.teleop import watching

# Its reports come every 8 ms while it is away from its middle, or every 16
# without a cable. Where they end before they say that it is back, it is out of
# reach, and the arm must not go on.
_POLL_S = 0.005
_SILENCE_S = 0.25


class SpaceMouse:
  """A `devices.Device` that a thread reads, some 200 times a second.

  Its user faces the arm: pulled towards them it moves the arm along +x, to
  their right along +y, up along +z, and turned it turns the arm about these
  axes. The left button closes the gripper, the right one opens it.
  """

  def __init__(self, dead_zone: float = 0.001):
    """Opens the first SpaceMouse that is plugged in.

    Args:
      dead_zone: the norm of the six axes, each in [-1, 1], up to which the
        mouse counts as at rest.

    Raises:
      devices.DeviceError: there is none, or it may not be read.
    """
    self._dead_zone = dead_zone
    try:
      # The convention with one right-handed frame for both; older ones turn
      # about other axes than they move along.
      self._mouse = pyspacemouse.open(
        axis_convention=pyspacemouse.AxisConvention.HID_Z_UP
      )
    except (RuntimeError, easyhid.HIDException) as error:
      raise devices.DeviceError(
        f'Cannot open a SpaceMouse ({error}); expected one that is plugged in, '
        'the library of libhidapi-hidraw0 (apt), and the right to read and '
        'write /dev/hidraw* (a udev rule).'
      ) from error
    self._stop = threading.Event()
    self._watched = watching.Watched(self._commands())

  def read(self) -> devices.Command:
    """Returns what the mouse asks for now; never waits.

    Raises:
      devices.DeviceError: it was unplugged, or sends what nobody understands.
    """
    return self._watched.read()

  def begin_episode(self) -> None:
    """Drops clicks from before, which the episode has no part in."""
    self._watched.forget()

  def close(self) -> None:
    """Lets go of the mouse."""
    self._stop.set()
    self._watched.join()
    self._mouse.close()

  def _commands(self) -> Iterator[devices.Command]:
    seen, latest = -1.0, -np.inf
    # Reads return at once, with or without a report: to go on reading would
    # take a core.
    while not self._stop.wait(_POLL_S):
      try:
        while (state := self._mouse.read()).t != seen:
          seen, latest = state.t, time.monotonic()
          yield _command(state, self._dead_zone)
      except (easyhid.HIDException, OSError) as error:
        raise devices.DeviceError(
          f'The SpaceMouse is gone ({error}); plug it in and open it again.'
        ) from error
      if time.monotonic() - latest > _SILENCE_S:
        command = _command(state, self._dead_zone)
        yield command._replace(motion=np.zeros(6, np.float32))


def _command(
  state: pyspacemouse.SpaceMouseState, dead_zone: float
) -> devices.Command:
  """Returns a copy, in the base frame, of the state that each read changes."""
  # The mouse's own x is to its right, its y away from the user.
  motion = np.array(
    [-state.y, state.x, state.z, -state.pitch, state.roll, state.yaw],
    np.float32,
  )
  if np.linalg.norm(motion) <= dead_zone:
    motion[:] = 0.0
  left, right = (*state.buttons, 0, 0)[:2]  # there are mice without
  return devices.Command(np.clip(motion, -1, 1), left - right)
