"""Watches over the nodes of a launched program until all of them are gone."""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import pathlib
import signal
import subprocess
import time

from launchpad.launch import worker_manager

from serl.programs import errors
from serl.programs import interrupt
from serl.programs import run_folder
from serl.programs.distributed import heartbeat
from serl.programs.distributed import program as program_lib

_FAILURE_GRACE_S = 2.5  # the run ends within 5 s after a node has died
_STOP_GRACE_S = 8.0  # and within 10 s after a Ctrl-C
_DUMP_S = 2.0  # for a node that is aborted to write where its threads were
_TRACEBACK_LINES = 60
_STARTS = ('Traceback', 'Fatal Python error')  # of a traceback


class Supervisor:
  """Owns the processes of a program's nodes, by the nodes' names."""

  def __init__(
    self,
    nodes: Mapping[str, program_lib.Node],
    manager: worker_manager.WorkerManager,
  ):
    """Takes the processes over from Launchpad.

    Launchpad's own way to stop counts down from 10 s and then kills the
    launcher too, with no word of the node that failed: so its manager only
    starts the processes, and they are watched and stopped here.

    Args:
      nodes: of the program, by their groups.
      manager: what `lp.launch` returned.
    """
    self._nodes = nodes
    self._alive: dict[str, subprocess.Popen] = {}
    # Launchpad offers no public way to the processes (0.5.2, its last release).
    workers = manager._active_workers
    for label, processes in workers.items():
      # Labels are GROUP/INDEX; each node is a group of its own.
      (self._alive[label.split('/')[0]],) = processes
    workers.clear()
    self._monitor = heartbeat.Monitor(
      {label: heartbeat.path(*node) for label, node in nodes.items()}
    )
    self._interrupted = 0

  @contextlib.contextmanager
  def handle_signals(self) -> Iterator['Supervisor']:
    """Takes the signals that end a program as the wish to stop."""
    signals = interrupt.heard()

    def note(number, _):
      self._interrupted = number

    before = {s: signal.signal(s, note) for s in signals}
    try:
      yield self
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)

  @property
  def interrupted(self) -> bool:
    """Whether the user asked for a stop."""
    return bool(self._interrupted)

  @property
  def alive(self) -> bool:
    """Whether any node has not ended."""
    return bool(self._alive)

  def poll(self) -> list[str]:
    """Returns the nodes that have ended well since the last call.

    Raises:
      NodeDiedError: with the node's name, its code and its traceback; or one
        has been silent for too long, and was killed.
    """
    ended = []
    for name, node in list(self._alive.items()):
      code = node.poll()
      if code is None:
        continue
      del self._alive[name]
      if code != 0:
        raise errors.NodeDiedError(self._describe(name, code))
      ended.append(name)
    for name, seconds in self._monitor.poll(self._alive).items():
      raise errors.NodeDiedError(self._abort(name, seconds))
    return ended

  def stop(self, grace_s: float = _STOP_GRACE_S) -> None:
    """Asks the nodes to end, and kills those that have not in `grace_s`.

    Raises:
      NodeLateError: some had to be killed.
      NodeDiedError: a node failed while it ended.
    """
    deadline = time.monotonic() + grace_s
    nodes, self._alive = self._alive, {}
    for node in nodes.values():
      node.send_signal(signal.SIGTERM)
    for node in nodes.values():
      with contextlib.suppress(subprocess.TimeoutExpired):
        node.wait(max(0.0, deadline - time.monotonic()))
    late = [name for name, node in nodes.items() if node.poll() is None]
    _kill([nodes[name] for name in late])
    failures = [
      self._describe(name, node.returncode)
      for name, node in nodes.items()
      # A node that was asked to end before it could listen dies of it.
      if name not in late and node.returncode not in (0, -signal.SIGTERM)
    ]
    late = [f'{name} did not end within {grace_s} s: killed.' for name in late]
    if failures:
      raise errors.NodeDiedError('\n'.join(failures + late))
    if late:
      raise errors.NodeLateError('\n'.join(late))

  def kill(self) -> None:
    """Kills the nodes that are still there, at once."""
    nodes, self._alive = self._alive, {}
    _kill(nodes.values())

  def stop_after_failure(
    self, failure: errors.NodeDiedError
  ) -> errors.NodeDiedError:
    """Ends what is left after `failure`; returns what there is to say."""
    try:
      self.stop(_FAILURE_GRACE_S)
    except errors.NodeDiedError as more:
      return errors.NodeDiedError(
        f'{failure}\nThen, while the others ended:\n{more}'
      )
    return failure

  def _abort(self, name: str, seconds: float) -> str:
    """Kills a node that gives no sign of life; describes where it was."""
    node = self._alive.pop(name)
    # A process that was stopped takes the first signal after the second.
    node.send_signal(signal.SIGABRT)
    node.send_signal(signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
      node.wait(_DUMP_S)
    _kill([node])
    return self._describe_end(
      name,
      f'gave no sign of life for {seconds:.0f} s and was killed: its process '
      'was stopped, or a library kept it from running Python',
    )

  def _describe(self, name: str, code: int) -> str:
    how = (
      f'was killed by {signal.Signals(-code).name}'
      if code < 0
      else f'ended with code {code}'
    )
    return self._describe_end(name, how)

  def _describe_end(self, name: str, how: str) -> str:
    path = run_folder.log(*self._nodes[name])
    return f'The node {name!r} {how}. Its log: {path}\n{_traceback(path)}'


def _kill(nodes: Iterable[subprocess.Popen]) -> None:
  for node in nodes:
    node.kill()
  for node in nodes:
    node.wait()


def _traceback(path: pathlib.Path) -> str:
  """Returns the last traceback in a log, or else its last lines."""
  if not path.exists():
    return 'It has written nothing.'
  lines = [
    line
    for line in path.read_text(errors='replace').splitlines()
    if not line.startswith('Extension modules:')  # all there are, of a crash
  ]
  starts = [i for i, line in enumerate(lines) if line.startswith(_STARTS)]
  tail = lines[starts[-1] :] if starts else lines[-10:]
  return '\n'.join(tail[-_TRACEBACK_LINES:])
