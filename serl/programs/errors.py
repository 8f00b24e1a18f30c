"""How a run can end before its end."""

import sys


class NodeDiedError(RuntimeError):
  """A node ended with an error, or was killed."""


class NodeLateError(NodeDiedError):
  """Nodes that were asked to end did not, and were killed; no other failed."""


class FolderGoneError(OSError):
  """A run's folder was deleted or moved while the run went on."""


class NoUpdateError(RuntimeError):
  """A node has waited too long for the first update of the learner."""


class Interrupted(Exception):
  """The user stopped the run; the same command goes on with it."""


class LaunchpadMissingError(ImportError):
  """Launchpad or Reverb cannot be imported, without which nothing launches."""

  def __init__(self, cause: ImportError):
    """Says what this Python is and what runs on it."""
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    super().__init__(
      f'A launch in several processes needs Launchpad and Reverb ({cause}); '
      f'they have wheels for Python 3.10 on Linux x86-64, this is Python '
      f"{version}. There, pip install 'serl[launch]'; elsewhere run in one "
      'process: --local, programs.run_local.'
    )
