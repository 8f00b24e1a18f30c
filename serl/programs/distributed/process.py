"""What every node's process does first, and how it says where it stands."""

from collections.abc import Iterator
import contextlib
import ctypes
import faulthandler
import math
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from typing import NamedTuple

from absl import logging
import jax
import launchpad as lp

from serl.agents import variables
from serl.programs import config as config_lib
from serl.programs import errors
from serl.programs import interrupt
from serl.programs import run_folder
from serl.programs import time_limit
from serl.programs.distributed import heartbeat
from serl.programs.distributed import service

_PR_SET_PDEATHSIG = 1
_LATER_S = 60.0  # than the learner, other nodes give up the first update
_LAST_RESORT_S = 15  # after which a node that was asked to end is ended


class Served(NamedTuple):
  """A run as the nodes beside its learner reach it.

  Fields:
    config: of the run.
    learner: its learner.
    address: of the learner, for messages.
  """

  config: config_lib.RunConfig
  learner: service.Learner
  address: str


class Clock(NamedTuple):
  """The times that all nodes of a launch share, unix seconds."""

  launched: float
  origin: float  # at which the metrics' `elapsed` is 0, over all launches


def prepare(folder: pathlib.Path, node: str) -> None:
  """Makes this process the node's: its log file, and how it ends.

  Call it in the process's main thread. The launcher alone decides on a stop: a
  Ctrl-C or a terminal that is closed reaches the whole process group, and nodes
  that took it themselves would stop before those that still need them.
  """
  path = run_folder.log(folder, node)
  path.parent.mkdir(parents=True, exist_ok=True)
  file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
    os.dup2(file, stream.fileno())
  os.close(file)
  logging.set_verbosity(logging.INFO)
  logging.use_absl_handler()
  # Where a library crashes, the log says in which thread.
  faulthandler.enable()
  for number in interrupt.SIGNALS:
    signal.signal(number, signal.SIG_IGN)
  stop = lp.stop_event()

  def ask_to_stop(*_) -> None:
    stop.set()
    signal.alarm(_LAST_RESORT_S)

  # Launchpad's own handler counts down aloud, and its countdown outlives the
  # node: it would kill one that is just returning.
  signal.signal(signal.SIGTERM, ask_to_stop)
  signal.signal(signal.SIGALRM, signal.SIG_DFL)
  if sys.platform == 'linux':
    # Without it a node outlives a launcher that was killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
  heartbeat.start(folder, node)
  logging.info('%s runs as process %d.', node, os.getpid())


def note_device(folder: pathlib.Path, node: str) -> None:
  """Starts JAX and notes on which device this node computes."""
  device = jax.devices()[0]
  kind = '' if device.device_kind == device.platform else device.device_kind
  text = f'{device.platform}{f" ({kind})" if kind else ""}'
  logging.info('Computes on %s.', text)
  _device_path(folder, node).write_text(text)


def read_device(folder: pathlib.Path, node: str) -> str:
  """Returns on which device a node computes; nothing while it starts."""
  try:
    return _device_path(folder, node).read_text()
  except FileNotFoundError:
    return ''


def _device_path(folder: pathlib.Path, node: str) -> pathlib.Path:
  return folder / 'logs' / f'{node}.device'


@contextlib.contextmanager
def leaving() -> Iterator[None]:
  """Ends this process with what it wraps, whose files are all closed by then.

  The teardown of TensorFlow's and XLA's threads would take seconds, in which
  nobody knows that the node has failed.
  """
  code = 0
  try:
    yield
  except Exception:  # noqa: BLE001 (whatever it is, it is told and ends here)
    traceback.print_exc()
    code = 1
  logging.flush()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


class Status:
  """One line that says what a node is doing, for the launcher to show."""

  def __init__(self, folder: pathlib.Path, node: str):
    """Initialises an empty status."""
    self._lock = threading.Lock()  # a watchdog writes it too
    self._path = status_path(folder, node)
    self._text = ''
    self._since = 0.0

  def say(self, text: str, since: float | None = None) -> None:
    """Shows `text` with the time since when it holds.

    Args:
      text: that describes the state; '' for one without trouble.
      since: unix time; None for that at which the text was first shown.
    """
    with self._lock:
      if text == self._text:
        return
      self._text = text
      self._since = time.time() if since is None else since
      logging.info('%s', text or 'running')
      temporary = self._path.with_suffix('.new')
      temporary.write_text(f'{self._since}\n{text}')
      os.replace(temporary, self._path)


class Timer:
  """The time limit of a launch as a node beside the learner keeps it.

  That the learner has made an update shows in the parameters that it publishes.
  """

  def __init__(
    self, config: config_lib.RunConfig, client: variables.VariableClient
  ):
    """Begins to wait for the first update.

    Args:
      config: of the run.
      client: of its parameters.
    """
    # The learner is to report first that there was none.
    self._limit = time_limit.TimeLimit(config, _LATER_S)
    self._client = client
    self._first: int | None = None

  def reached(self) -> str:
    """Returns which limit is reached, nothing if none is."""
    step = self._client.learner_steps
    if self._first is None:
      self._first = step
    elif step != self._first:
      self._limit.note_update()
    return self._limit.reached()


def say_limit(status: Status, reason: str) -> None:
  """Shows the limit that a node ends by, if it is one.

  Raises:
    NoUpdateError: the learner has made no update in the time for the first.
  """
  if reason.startswith(time_limit.NO_UPDATE):
    raise errors.NoUpdateError(f'The learner has made {reason}.')
  if reason:
    status.say(reason)


def status_path(folder: pathlib.Path, node: str) -> pathlib.Path:
  """Returns the file of a node's status."""
  return folder / 'logs' / f'{node}.status'


class Said(NamedTuple):
  """What a node says."""

  text: str = ''  # nothing while all is as it should be
  since: float = 0.0  # unix time

  def __str__(self) -> str:
    clock = time.strftime('%H:%M:%S', time.localtime(self.since))
    seconds = time.time() - self.since
    return f'{self.text}, since {clock} ({seconds:.0f} s)'


def clear_status(folder: pathlib.Path, node: str) -> None:
  """Forgets what a node said in an earlier launch."""
  for path in (
    status_path(folder, node),
    _device_path(folder, node),
    heartbeat.path(folder, node),
  ):
    path.unlink(missing_ok=True)


def read_status(folder: pathlib.Path, node: str) -> Said:
  """Returns what a node says, and since when."""
  try:
    since, text = status_path(folder, node).read_text().split('\n', 1)
    since = float(since)
  # There is none, or a disk has spoilt it.
  except (OSError, ValueError):
    return Said()
  return Said(text, since) if math.isfinite(since) else Said()
