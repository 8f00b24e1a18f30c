"""The SpaceMouse: six axes and two buttons."""

from collections.abc import Iterator
import contextlib
import os
import threading
import time

from absl import logging
import numpy as np
import pyspacemouse

from serl.teleop import devices
from serl.teleop import watching

# Names the mouse's interface, /dev/hidraw*, in the environment; else the one
# that talks first.
PATH_VARIABLE = 'SERL_SPACEMOUSE'

# Its reports come every 8 ms while it is away from its middle, or every 16
# without a cable. Where they end before they say that it is back, it is out of
# reach, and the arm must not go on.
_POLL_S = 0.005
_SILENCE_S = 0.25
# At rest, in counts of an axis, which are some 350 to a side.
_DEAD_ZONE = 2.0  # around where it rests, at least
_STEADY = 4.0  # the most that a mouse at rest varies by; a hand is less steady
_SMALL = 35.0  # the farthest from its middle that it may rest
_MEASURED_S = 0.5  # for so long


class SpaceMouse:
  """A `devices.Device` that a thread reads, some 200 times a second.

  Its user faces the arm: pulled towards them it moves the arm along +x, to
  their right along +y, up along +z, and turned it turns the arm about these
  axes. The left button closes the gripper, the right one opens it.

  A receiver has several interfaces, of which one carries the mouse: all are
  read until one reports an axis. Where the axes rest is measured when it is
  opened and at the beginning of each episode.
  """

  def __init__(
    self, path: str | os.PathLike | None = None, dead_zone: float = _DEAD_ZONE
  ):
    """Opens a SpaceMouse that is plugged in.

    Args:
      path: of its interface; by default what the environment's SERL_SPACEMOUSE
        names, else all that there are.
      dead_zone: counts of an axis, of some 350 to a side, up to which it counts
        as at rest; 2 or more.

    Raises:
      devices.DeviceError: there is none, or it may not be read.
      ValueError: `dead_zone` is below 2.
    """
    self._rest = _Rest(dead_zone)
    self._interfaces = _open(path or os.environ.get(PATH_VARIABLE))
    self._begins = threading.Event()
    self._stop = threading.Event()
    self._watched = watching.Watched(self._commands())

  def read(self) -> devices.Command:
    """Returns what the mouse asks for now; never waits.

    Raises:
      devices.DeviceError: it was unplugged, or sends what nobody understands.
    """
    return self._watched.read()

  def begin_episode(self) -> None:
    """Drops clicks from before, and measures again where the axes rest."""
    self._watched.forget()
    self._begins.set()

  def close(self) -> None:
    """Lets go of the mouse."""
    self._stop.set()
    self._watched.join()
    for interface in self._interfaces:
      interface.close()

  def _commands(self) -> Iterator[devices.Command]:
    command = devices.Command(np.zeros(6, np.float32), 0)
    counts, latest = np.zeros(6), -np.inf
    # Reads return at once, with or without a report: to go on reading would
    # take a core.
    while not self._stop.wait(_POLL_S):
      if self._begins.is_set():
        self._begins.clear()
        self._rest.begin()
      for interface in tuple(self._interfaces):
        if interface not in self._interfaces:
          continue  # another one was chosen just now
        for counts in self._reports(interface):
          latest = time.monotonic()
          command = interface.command(self._rest.beyond(counts))
          yield command
      if time.monotonic() - latest > _SILENCE_S:
        counts = np.zeros(6)
        yield command._replace(motion=np.zeros(6, np.float32))
      self._rest.see(counts, time.monotonic())

  def _reports(self, interface: '_Interface') -> Iterator[np.ndarray]:
    """Yields the axes, [6] counts, with each new report of the mouse.

    Raises:
      devices.DeviceError: there is no interface any more.
    """
    try:
      for counts in interface.reports():
        if len(self._interfaces) > 1:
          if not interface.carries_axes:
            continue  # such as the keys of a receiver
          self._choose(interface)
        yield counts
    except Exception as error:
      # Whatever its library raises, the arm must not go on.
      self._drop(interface)
      if not self._interfaces:
        raise devices.DeviceError(
          f'The SpaceMouse is gone ({error}); plug it in and open it again.'
        ) from error

  def _choose(self, chosen: '_Interface') -> None:
    logging.info('The SpaceMouse talks through %s.', chosen.path)
    for interface in tuple(self._interfaces):
      if interface is not chosen:
        self._drop(interface)

  def _drop(self, interface: '_Interface') -> None:
    self._interfaces.remove(interface)
    with contextlib.suppress(Exception):
      interface.close()


class _Interface:
  """An interface that may carry a mouse."""

  def __init__(self, path: str):
    self.path = path
    self.carries_axes = False
    # The convention with one right-handed frame for both; older ones turn about
    # other axes than they move along.
    self._mouse = pyspacemouse.open_by_path(
      path,
      axis_convention=pyspacemouse.AxisConvention.HID_Z_UP,
      dof_callback=self._note_axes,
    )
    self._scale = self._mouse.info.axis_scale
    self._seen = -1.0
    self._closing = 0

  def reports(self) -> Iterator[np.ndarray]:
    """Yields the axes, [6] counts, with each report that has come."""
    while (state := self._mouse.read()).t != self._seen:
      self._seen = state.t
      left, right = (*state.buttons, 0, 0)[:2]  # there are mice without
      self._closing = left - right
      # A copy: each read changes the one state that there is.
      yield self._scale * np.array(
        (state.x, state.y, state.z, state.roll, state.pitch, state.yaw)
      )

  def command(self, counts: np.ndarray) -> devices.Command:
    """Returns what axes, [6] counts, ask for, in the base frame."""
    # The mouse's own x is to its right, its y away from the user.
    x, y, z, roll, pitch, yaw = counts / self._scale
    motion = np.array((-y, x, z, -pitch, roll, yaw), np.float32)
    return devices.Command(np.clip(motion, -1, 1), self._closing)

  def close(self) -> None:
    self._mouse.close()

  def _note_axes(self, _: pyspacemouse.SpaceMouseState) -> None:
    self.carries_axes = True


class _Rest:
  """Where the axes of a mouse rest, [6] counts, as they do not all at 0.

  It is measured while they are steady and small. Until then nothing small
  counts as moved.
  """

  def __init__(self, dead_zone: float):
    if not dead_zone >= _DEAD_ZONE:
      raise ValueError(
        f'dead_zone is {dead_zone}; expected {_DEAD_ZONE:g} counts or more: a '
        'mouse at rest varies by as much.'
      )
    self._dead_zone = dead_zone
    self._middle = np.zeros(6)
    self._zone = np.full(6, dead_zone)
    self._is_known = False
    self.begin()

  def begin(self) -> None:
    """Measures it, again if it was; until then what was measured holds."""
    self._measures = True
    self._since: float | None = None

  def see(self, counts: np.ndarray, now: float) -> None:
    """Takes in what the axes are at a time, s."""
    if not self._measures:
      return
    if self._since is None:
      self._since = now
      self._low = self._high = counts
    self._low = np.minimum(self._low, counts)
    self._high = np.maximum(self._high, counts)
    varies = self._high - self._low
    if varies.max() > _STEADY or np.abs(counts).max() > _SMALL:
      self._since = None  # somebody moves it
    elif now - self._since >= _MEASURED_S:
      self._middle = (self._low + self._high) / 2
      self._zone = np.maximum(self._dead_zone, varies / 2 + 1)
      self._is_known, self._measures = True, False
      if self._middle.any():
        logging.info('The SpaceMouse rests at %s counts.', self._middle)

  def beyond(self, counts: np.ndarray) -> np.ndarray:
    """Returns how far the axes are from where they rest, 0 in its dead zone."""
    if not self._is_known and np.abs(counts).max() <= _SMALL:
      return np.zeros(6)
    moved = counts - self._middle
    return np.where(np.abs(moved) <= self._zone, 0.0, moved)


def _open(path: str | os.PathLike | None) -> list[_Interface]:
  """Opens the interface at a path, or all of SpaceMice.

  Raises:
    devices.DeviceError: none can be opened.
  """
  opened, errors = [], []
  found: dict[str, str] = {}
  try:
    found = pyspacemouse.get_connected_devices_by_path()
  except Exception as error:  # noqa: BLE001
    errors.append(str(error))
  for one in [os.fspath(path)] if path else found:
    try:
      opened.append(_Interface(one))
    except Exception as error:  # noqa: BLE001
      errors.append(f'{one}: {error}')
  if not opened:
    if path:
      errors.append(f'there is {", ".join(found) or "none"}')
    raise devices.DeviceError(
      f'Cannot open a SpaceMouse ({"; ".join(errors) or "No connected one"}); '
      'expected one that is plugged in, the library of libhidapi-hidraw0 '
      '(apt), the right to read and write /dev/hidraw* (a udev rule), and its '
      f'path in {PATH_VARIABLE} if it is not to be the first that talks.'
    )
  for error in errors:
    logging.warning('An interface of a SpaceMouse cannot be read: %s', error)
  return opened
