"""A device that a thread reads, so that nobody who asks it waits."""

from collections.abc import Iterable
import threading

import numpy as np

from serl.teleop import devices


class Watched:
  """The latest command of a device.

  Once its thread has ended, for whatever reason, there is none: an arm that
  went on by the last one would not stop.

  A button that was pressed counts until it is read: a click is shorter than a
  step of the arm.
  """

  def __init__(self, commands: Iterable[devices.Command]):
    """Begins to read.

    Args:
      commands: waits for the device and yields what is asked for; ends when
        the device is let go of, and raises a DeviceError when it is gone.
    """
    self._command = devices.Command(np.zeros(6, np.float32), 0)
    self._clicked = 0  # as `closing`, of a press that nobody has read
    self._lock = threading.Lock()
    self._error = devices.DeviceError('The device of the person was closed.')
    self._thread = threading.Thread(
      target=self._run, args=(commands,), daemon=True
    )
    self._thread.start()

  def read(self) -> devices.Command:
    """Returns what is asked for now; never waits.

    Raises:
      DeviceError: the device is gone.
    """
    if not self._thread.is_alive():
      raise devices.DeviceError(str(self._error)) from self._error
    with self._lock:
      command, clicked = self._command, self._clicked
      self._clicked = 0
    return command._replace(closing=command.closing or clicked)

  def forget(self) -> None:
    """Drops a click that nobody has read."""
    with self._lock:
      self._clicked = 0

  def join(self) -> None:
    """Waits for the end of the commands."""
    self._thread.join()

  def _run(self, commands: Iterable[devices.Command]) -> None:
    try:
      for command in commands:
        with self._lock:
          if command.closing not in (0, self._command.closing):
            self._clicked = command.closing
          self._command = command
    except devices.DeviceError as error:
      self._error = error
    except Exception as error:
      self._error = devices.DeviceError(
        f'The device of the person cannot be read any more ({error!r}).'
      )
      raise
