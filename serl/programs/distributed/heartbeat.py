"""Shows a launcher that the process of a node runs.

A thread of the node touches a file. It cannot while the process is stopped, or
while a library keeps the lock of Python's interpreter: then the node's own
watchdog cannot run either.
"""

from collections.abc import Iterable, Mapping
import contextlib
import math
import os
import pathlib
import threading
import time
from typing import NamedTuple

from serl.programs import watchdog

_BEAT_S = 0.5
_SILENCE_S = 45.0  # after which a node is ended
_STARTING_S = 180.0  # likewise, while libraries and the environment are loaded
_LONGEST_POLL_S = 1.0  # what is longer, the launcher itself was stopped for


class _Beat(NamedTuple):
  """The newest sign of life of a node.

  Fields:
    stamp: the time of the file, ns; it is compared alone.
    limit_s: the silence that is allowed.
  """

  stamp: int | None
  limit_s: float


class Monitor:
  """Measures for how long nodes have been silent."""

  def __init__(self, files: Mapping[str, pathlib.Path]):
    """Initialises the monitor.

    Args:
      files: the heartbeats' files of the nodes.
    """
    self._files = files
    self._newest: dict[str, _Beat] = {}
    self._silent_s = dict.fromkeys(files, 0.0)
    self._polled = time.monotonic()

  def poll(self, nodes: Iterable[str]) -> dict[str, float]:
    """Returns for how long the nodes have been silent that were so too long.

    Time in which this process itself was stopped does not count.

    Args:
      nodes: to look at.
    """
    now = time.monotonic()
    passed, self._polled = min(now - self._polled, _LONGEST_POLL_S), now
    silent = {}
    for node in nodes:
      beat = _read(self._files[node])
      self._silent_s[node] += passed
      if beat != self._newest.get(node):
        self._newest[node] = beat
        self._silent_s[node] = 0.0
      if self._silent_s[node] >= beat.limit_s:
        silent[node] = self._silent_s[node]
    return silent


def start(folder: pathlib.Path, node: str) -> None:
  """Begins to beat, as long as this process lives.

  Args:
    folder: of the node.
    node: its name.
  """
  file = path(folder, node)
  _write(file, _STARTING_S)
  thread = threading.Thread(
    target=_beat, args=(file,), name='heartbeat', daemon=True
  )
  thread.start()


def end_start(
  folder: pathlib.Path,
  node: str,
  call_limits: watchdog.Limits | None = None,
) -> None:
  """Ends the longer time that a node has for its start.

  Args:
    folder: of the node.
    node: its name.
    call_limits: of its environment. A silence of the longest is allowed, too.
      None of a node without one.
  """
  limits = (call_limits.step, call_limits.reset) if call_limits else ()
  limits = [math.inf if limit is None else limit for limit in limits]
  _write(path(folder, node), max([_SILENCE_S, *limits]))


def path(folder: pathlib.Path, node: str) -> pathlib.Path:
  """Returns the file that a node touches."""
  return folder / 'logs' / f'{node}.heartbeat'


def _beat(file: pathlib.Path) -> None:
  while True:
    # The launcher notices by itself that the run's folder is gone.
    with contextlib.suppress(OSError):
      os.utime(file)
    time.sleep(_BEAT_S)


def _write(file: pathlib.Path, limit_s: float) -> None:
  temporary = file.with_suffix('.beat')
  temporary.write_text(f'{limit_s:g}')
  os.replace(temporary, file)


def _read(file: pathlib.Path) -> _Beat:
  """Returns the newest beat; before the first, that of a node that starts."""
  try:
    return _Beat(os.stat(file).st_mtime_ns, float(file.read_text()))
  except (OSError, ValueError):
    return _Beat(None, _STARTING_S)
