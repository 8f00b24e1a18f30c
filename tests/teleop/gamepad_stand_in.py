"""An Xbox pad that a test moves, and a FIFO in its device's place."""

from collections.abc import Callable, Mapping
import fcntl
import os
import pathlib
import struct
import termios
import time

LEFT_X, LEFT_Y, LEFT_TRIGGER, RIGHT_X, RIGHT_Y, RIGHT_TRIGGER = range(6)
CROSS_X, CROSS_Y = 6, 7
A, B, X, Y = range(4)
# As the driver xpad has them.
AXES = {**dict.fromkeys(range(8), 0), LEFT_TRIGGER: -1, RIGHT_TRIGGER: -1}
BUTTONS = dict.fromkeys(range(11), 0)

_BUTTON, _AXIS, _INITIAL = 1, 2, 0x80


class Pad:
  """Tells its axes, in [-1, 1], and buttons by the kernel's events."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    self._cable: int | None = None
    self._ms = 0

  def plug_in(
    self,
    axes: Mapping[int, float] = AXES,
    buttons: Mapping[int, int] = BUTTONS,
  ) -> None:
    """Is there, and tells how all its parts are to who opens it."""
    os.mkfifo(self.path)
    # For reading too: alone for writing it would wait for a reader.
    self._cable = os.open(self.path, os.O_RDWR)
    for number, value in buttons.items():
      self.send(self.event(_BUTTON | _INITIAL, number, value))
    for number, value in axes.items():
      self.send(self.event(_AXIS | _INITIAL, number, round(32767 * value)))

  def unplug(self) -> None:
    """Is gone, and so are its events."""
    os.close(self._cable)
    self.path.unlink()

  def move(self, axis: int, value: float) -> None:
    self.send(self.event(_AXIS, axis, round(32767 * value)))

  def press(self, button: int, down: bool = True) -> None:
    self.send(self.event(_BUTTON, button, down))

  def event(self, kind: int, number: int, value: int) -> bytes:
    """Returns the 8 bytes of the next event."""
    self._ms += 4
    return struct.pack('=IhBB', self._ms, value, kind, number)

  def send(self, some: bytes) -> None:
    os.write(self._cable, some)

  @property
  def unread(self) -> int:
    """How many bytes nobody has read so far."""
    found = fcntl.ioctl(self._cable, termios.FIONREAD, bytes(4))
    return int.from_bytes(found, 'little')


def wait_for(condition: Callable[[], bool]) -> None:
  """Waits until the thread that reads a pad has got there."""
  for _ in range(20_000):
    if condition():
      return
    time.sleep(0.001)
  raise AssertionError('it never came to that')
