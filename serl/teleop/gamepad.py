"""A gamepad: two sticks, a cross, two triggers and buttons."""

from collections.abc import Iterator
import dataclasses
import errno
import os
import select
import struct
import threading
from typing import Annotated, Literal

import numpy as np

from serl import configs
from serl.teleop import devices
from serl.teleop import watching

# Names the gamepad's device in the environment, if it is not the first one.
PATH_VARIABLE = 'SERL_GAMEPAD'
_PATH = '/dev/input/js0'

HELP = (
  'left stick: along x and y   right stick: turn about y and z\n'
  'triggers: z, the right one up   cross: z, and turn about x\n'
  'A/B: close and open the gripper   Y: as the space bar'
)

# Of the kernel's joystick interface: ms, value, kind, number.
_EVENT = struct.Struct('=IhBB')
_BUTTON, _AXIS = 0x01, 0x02
_INITIAL = 0x80  # flag of events that tell how things are, as on opening
_FULL = 32767  # of an axis, to either side; triggers rest at -_FULL


_Number = Annotated[int, configs.Bounds(0, 255)]  # as the kernel counts


@dataclasses.dataclass(frozen=True)
class Axis:
  """An axis of a pad by its number, and the sign of what it asks for."""

  number: _Number
  sign: Literal[-1, 1] = 1

  __post_init__ = configs.check


@dataclasses.dataclass(frozen=True)
class Layout:
  """What each axis and button of a pad asks for, by the kernel's numbers.

  None is for what a pad does not have. To the kernel, sticks and crosses are
  positive to the right and towards the user. `jstest` shows a pad's numbers.
  """

  x: Axis | None = Axis(1)  # left stick
  y: Axis | None = Axis(0)
  z: Axis | None = Axis(7, -1)  # cross
  about_x: Axis | None = Axis(6, -1)
  about_y: Axis | None = Axis(4)  # right stick
  about_z: Axis | None = Axis(3, -1)
  up: _Number | None = 5  # right trigger
  down: _Number | None = 2  # left trigger
  close: _Number | None = 0  # button A
  open: _Number | None = 1  # B
  success: _Number | None = 3  # Y

  __post_init__ = configs.check

  @property
  def motion(self) -> tuple[Axis | None, ...]:
    """The axes in the order of `devices.Command.motion`."""
    return self.x, self.y, self.z, self.about_x, self.about_y, self.about_z


# Under the driver xpad. PlayStation pads under hid-playstation have the same
# numbers: their cross, circle and square are A, B and Y.
XBOX = Layout()


class Gamepad:
  """A `devices.Device` that a thread reads by the kernel's joystick interface.

  Its user faces the arm as that of the SpaceMouse: the left stick pulled
  towards them moves it along +x, to their right along +y. The right stick and
  the cross tilt and turn the tool's upper end their way.
  """

  def __init__(
    self,
    path: str | os.PathLike | None = None,
    layout: Layout = XBOX,
    dead_zone: float = 0.15,
  ):
    """Opens a gamepad.

    Args:
      path: of its device; by default what the environment's SERL_GAMEPAD
        names, else the first joystick.
      layout: of its axes and buttons.
      dead_zone: up to where an axis of [-1, 1] counts as at rest; from there on
        what it asks for grows from 0.

    Raises:
      devices.DeviceError: there is none, or it may not be read.
      ValueError: `dead_zone` is not in [0, 1).
    """
    self._state = _State(layout, dead_zone)
    try:
      self._pad = os.open(
        path or os.environ.get(PATH_VARIABLE, _PATH),
        os.O_RDONLY | os.O_NONBLOCK,
      )
    except OSError as error:
      raise devices.DeviceError(
        f'Cannot open a gamepad ({error}); expected one that is plugged in, '
        "the kernel's modules for it (modprobe -a joydev xpad), the right to "
        'read /dev/input/js* (usermod -aG input USER, and a new login), and '
        f'its path in {PATH_VARIABLE} if it is not {_PATH}.'
      ) from error
    self._stop = os.eventfd(0)
    self._watched = watching.Watched(self._commands())

  def read(self) -> devices.Command:
    """Returns what the pad asks for now; never waits.

    Raises:
      devices.DeviceError: it was unplugged, or has another layout.
    """
    return self._watched.read()

  def begin_episode(self) -> None:
    """Drops clicks from before, which the episode has no part in."""
    self._watched.forget()

  def was_marked(self) -> bool:
    """Returns whether success was marked since this was last asked."""
    marked = self._state.marked
    if not marked.is_set():
      return False
    marked.clear()
    return True

  def is_marked(self) -> bool:
    """Returns whether success is marked now: its button is down."""
    return self._state.marks

  def close(self) -> None:
    """Lets go of the pad."""
    os.eventfd_write(self._stop, 1)
    self._watched.join()
    os.close(self._stop)
    os.close(self._pad)

  def _commands(self) -> Iterator[devices.Command]:
    poll = select.poll()
    poll.register(self._pad, select.POLLIN)
    poll.register(self._stop, select.POLLIN)
    unread = b''
    while self._stop not in dict(poll.poll()):
      try:
        some = os.read(self._pad, 64 * _EVENT.size)
        if not some:
          raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
      except OSError as error:
        raise devices.DeviceError(
          f'The gamepad is gone ({error}); plug it in and open it again.'
        ) from error
      unread += some
      end = len(unread) - len(unread) % _EVENT.size
      for _, value, kind, number in _EVENT.iter_unpack(unread[:end]):
        self._state.note(
          kind & ~_INITIAL, number, value, initial=bool(kind & _INITIAL)
        )
        yield self._state.command()
      unread = unread[end:]


class _State:
  """What a pad has told."""

  def __init__(self, layout: Layout, dead_zone: float):
    if not 0 <= dead_zone < 1:
      raise ValueError(f'dead_zone is {dead_zone}, expected 0 <= it < 1.')
    self._layout = layout
    self._dead_zone = dead_zone
    self._values: dict[tuple[int, int], int] = {}
    # Those that have not been seen at the end where a trigger rests.
    self._unsure = {(_AXIS, layout.up), (_AXIS, layout.down)}
    named = {
      *((_AXIS, axis.number) for axis in layout.motion if axis is not None),
      *self._unsure,
      *((_BUTTON, n) for n in (layout.close, layout.open, layout.success)),
    }
    self._untold = {key for key in named if key[1] is not None}
    self.marked = threading.Event()

  @property
  def marks(self) -> bool:
    """Whether the button that marks success is down."""
    return self._is_down(self._layout.success)

  def note(self, kind: int, number: int, value: int, initial: bool) -> None:
    """Takes in an event.

    Args:
      kind: _AXIS or _BUTTON.
      number: of the axis or button.
      value: 0 or 1 of a button, in [-32767, 32767] of an axis.
      initial: whether it tells what has not changed.

    Raises:
      DeviceError: the pad has another layout: the arm would move by an axis
        that nobody touches.
    """
    key = (kind, number)
    if initial:
      self._untold.discard(key)
    elif self._untold:
      raise _another_layout(
        'has no '
        + ', '.join(
          f'{"axis" if kind == _AXIS else "button"} {number}'
          for kind, number in sorted(self._untold)
        )
      )
    if key in self._unsure:
      if initial and not value:
        return  # drivers say so of a trigger that nobody has touched yet
      if value > -_FULL // 2:
        raise _another_layout(
          f'has no trigger at rest in axis {number}, whose value is {value}'
        )
      self._unsure.remove(key)
    if key == (_BUTTON, self._layout.success) and value and not initial:
      self.marked.set()
    self._values[key] = value

  def command(self) -> devices.Command:
    """Returns what is asked for now."""
    layout = self._layout
    motion = np.zeros(6, np.float32)
    for i, axis in enumerate(layout.motion):
      if axis is not None:
        value = self._values.get((_AXIS, axis.number), 0)
        motion[i] = axis.sign * self._beyond(value / _FULL)
    motion[2] += self._pull(layout.up) - self._pull(layout.down)
    return devices.Command(
      np.clip(motion, -1, 1),
      self._is_down(layout.close) - self._is_down(layout.open),
    )

  def _pull(self, trigger: int | None) -> float:
    value = self._values.get((_AXIS, trigger), -_FULL)
    return self._beyond((value / _FULL + 1) / 2)

  def _beyond(self, value: float) -> float:
    """Returns `value`, in [-1, 1], without the dead zone."""
    size = max(0.0, abs(value) - self._dead_zone) / (1 - self._dead_zone)
    return np.copysign(size, value)

  def _is_down(self, button: int | None) -> bool:
    return bool(self._values.get((_BUTTON, button), 0))


def _another_layout(reason: str) -> devices.DeviceError:
  return devices.DeviceError(
    f'The gamepad {reason}; expected an Xbox or PlayStation pad by cable under '
    "the kernel's driver for it, its triggers let go while it is opened, its "
    f'path in {PATH_VARIABLE} if it is not {_PATH}, or a `gamepad.Layout` of '
    'its own.'
  )
