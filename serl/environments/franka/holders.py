"""Which processes have a camera open: by the files that it is under /dev."""

from collections.abc import Iterable
import glob
import os
import pathlib
import re
from typing import NamedTuple

_SYSFS, _DEV, _PROC = '/sys', '/dev', '/proc'
_INTEL = '8086'  # the maker's number at USB
# As librealsense names a port where it uses libusb: bus, ports, number.
_PORT = re.compile(r'(\d+-[\d.]+)-\d+')


class Holders(NamedTuple):
  """What has some files open, as far as this user may know."""

  files: tuple[str, ...]
  processes: tuple[str, ...]  # except this one, by number and name
  hidden: int  # processes that may not be looked into

  def describe(self) -> str:
    """Returns what is known of the other process that has them open."""
    if self.processes:
      return ', '.join(self.processes)
    if not self.files:
      return 'a process that was not found: its files in /dev are not known'
    found = f'a process that was not found to have {", ".join(self.files)} open'
    if self.hidden:
      found += (
        f'; {self.hidden} processes of other users may not be looked into: '
        f'sudo fuser -v {" ".join(self.files)}'
      )
    return found


def find(files: Iterable[str]) -> Holders:
  """Looks for processes that have one of some files open.

  Args:
    files: paths, such as /dev/video0.
  """
  files = tuple(files)
  wanted = set(files) | {os.path.realpath(file) for file in files}
  processes, hidden = [], 0
  if files:
    for folder in glob.glob(f'{_PROC}/[0-9]*'):
      number = os.path.basename(folder)
      try:
        if int(number) != os.getpid() and _opens(number, wanted):
          processes.append(f'process {number} ({_name(number)})')
      except PermissionError:
        hidden += 1
      except OSError:
        continue  # it has ended
  return Holders(files, tuple(processes), hidden)


def files_of_usb(port: str) -> tuple[str, ...]:
  """Returns the files of a USB camera.

  Args:
    port: of librealsense, its 'physical port': a folder of sysfs, or the bus,
      the ports and the number of a device.

  Returns:
    Those that there are; none where the port is not understood.
  """
  folder = pathlib.Path(port)
  if match := _PORT.fullmatch(port):
    folder = pathlib.Path(_SYSFS, 'bus/usb/devices', match[1])
  for parent in (folder, *folder.parents):
    if (parent / 'busnum').is_file():
      return _files_of(parent)
  return ()


def files_of_realsenses() -> tuple[str, ...]:
  """Returns the files of all RealSense cameras at this computer's USB.

  A library that cannot open one does not list it.
  """
  found = []
  for maker in glob.glob(f'{_SYSFS}/bus/usb/devices/*/idVendor'):
    folder = pathlib.Path(maker).parent
    if _read(folder / 'idVendor') == _INTEL and 'RealSense' in _read(
      folder / 'product'
    ):
      found.extend(_files_of(folder))
  return tuple(found)


def _files_of(folder: pathlib.Path) -> tuple[str, ...]:
  bus, number = _read(folder / 'busnum'), _read(folder / 'devnum')
  files = []
  if bus.isdigit() and number.isdigit():
    files.append(f'{_DEV}/bus/usb/{int(bus):03d}/{int(number):03d}')
  for video in sorted(glob.glob(f'{glob.escape(str(folder))}/*/video4linux/*')):
    files.append(f'{_DEV}/{os.path.basename(video)}')
  return tuple(files)


def _opens(process: str, files: set[str]) -> bool:
  """Returns whether a process has one of the files open."""
  folder = f'{_PROC}/{process}/fd'
  for number in os.listdir(folder):
    try:
      if os.readlink(f'{folder}/{number}') in files:
        return True
    except FileNotFoundError:
      continue  # it has been closed
  return False


def _name(process: str) -> str:
  """Returns a process's command, shortened."""
  words = _read(pathlib.Path(_PROC, process, 'cmdline')).split('\0')
  return ' '.join(filter(None, words))[:80] or 'name not known'


def _read(path: pathlib.Path) -> str:
  """Returns a small file's text, '' if it cannot be read."""
  try:
    return path.read_text(errors='replace').strip()
  except OSError:
    return ''
