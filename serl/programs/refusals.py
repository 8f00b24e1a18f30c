"""Tells an error that is the user's to mend from a mistake in code.

A refusal has its reason in its text; the traceback of anything else is needed.
"""

import linecache
import pathlib
import sysconfig
import traceback

from serl import core
from serl import environment_loop
from serl.agents import actors
from serl.agents import learner
from serl.programs import errors
from serl.teleop import devices
from serl.utils import checkpointing

# Raised for the user by what they are.
_KINDS = (
  devices.DeviceError,
  errors.LaunchpadMissingError,
  errors.NodeDiedError,
  errors.NoUpdateError,
  checkpointing.CheckpointError,
  environment_loop.FaultLimitError,
  core.FaultError,
  actors.NonFiniteActionError,
  learner.NonFiniteError,
)
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_OWN = (_ROOT / 'serl', _ROOT / 'robot_server')  # this package and its server's
_LIBRARY = pathlib.Path(sysconfig.get_path('stdlib')).resolve()
_INSTALLED = ('site-packages', 'dist-packages')


def is_refusal(error: BaseException) -> bool:
  """Returns whether an error's text alone says what the user is to do.

  So it is where a statement of this package has raised a ValueError or an
  OSError on purpose, or the system has refused what this package asked of it.
  An error of a user's network, of numpy or of jax is none.
  """
  if isinstance(error, _KINDS):
    return True
  if not isinstance(error, (ValueError, OSError)):
    return False
  frames = traceback.extract_tb(error.__traceback__)
  if isinstance(error, OSError):
    while frames and _is_in_library(frames[-1].filename):
      frames.pop()
    return bool(frames) and _is_own(frames[-1].filename)
  if not frames or not _is_own(frames[-1].filename):
    return False
  line = linecache.getline(frames[-1].filename, frames[-1].lineno)
  return line.strip().startswith('raise ')


def _is_own(file: str) -> bool:
  parents = pathlib.Path(file).resolve().parents
  return any(folder in parents for folder in _OWN)


def _is_in_library(file: str) -> bool:
  path = pathlib.Path(file)
  # Frames such as <frozen importlib._bootstrap> are the library's, too.
  is_installed = any(part in _INSTALLED for part in path.parts)
  return file.startswith('<') or (
    _LIBRARY in path.resolve().parents and not is_installed
  )
