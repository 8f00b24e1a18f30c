"""Watches over the nodes of a launched program until all of them are gone."""

from collections.abc import Iterator, Mapping
import contextlib
import pathlib
import signal
import subprocess
import time

from launchpad.launch import worker_manager

from serl.programs import errors
from serl.programs import run_folder
from serl.programs.distributed import program as program_lib

_FAILURE_GRACE_S = 3.5  # the run ends within 5 s after a node has died
_STOP_GRACE_S = 8.0  # and within 10 s after a Ctrl-C
_REPLAY_GRACE_S = 1.0  # more for the replays, where the others took it all
_TRACEBACK_LINES = 60


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
    self._interrupted = 0

  @contextlib.contextmanager
  def handle_signals(self) -> Iterator['Supervisor']:
    """Takes Ctrl-C and SIGTERM as the wish to stop."""
    signals = (signal.SIGINT, signal.SIGTERM)

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
      NodeDiedError: with the node's name, its code and its traceback.
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
    return ended

  def stop(self, grace_s: float = _STOP_GRACE_S) -> None:
    """Asks the nodes to end, and kills those that have not in `grace_s`.

    The replay goes last: the learner may be waiting for a batch. Where the
    others took all the time it gets a second more.

    Raises:
      NodeLateError: some had to be killed.
      NodeDiedError: a node failed while it ended.
    """
    deadline = time.monotonic() + grace_s
    failures, late = [], []
    replays = [
      name
      for name in self._alive
      if self._nodes[name].name == program_lib.REPLAY
    ]
    for names in ([n for n in self._alive if n not in replays], replays):
      if names is replays:
        deadline = max(deadline, time.monotonic() + _REPLAY_GRACE_S)
      for name in names:
        self._alive[name].send_signal(signal.SIGTERM)
      for name in names:
        node = self._alive.pop(name)
        try:
          code = node.wait(max(0.2, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
          node.kill()
          node.wait()
          late.append(f'{name} did not end within {grace_s} s: killed.')
          continue
        # A node that was asked to end before it could listen dies of it.
        if code not in (0, -signal.SIGTERM):
          failures.append(self._describe(name, code))
    if failures:
      raise errors.NodeDiedError('\n'.join(failures + late))
    if late:
      raise errors.NodeLateError('\n'.join(late))

  def kill(self) -> None:
    """Kills the nodes that are still there, at once."""
    for name in list(self._alive):
      node = self._alive.pop(name)
      node.kill()
      node.wait()

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

  def _describe(self, name: str, code: int) -> str:
    path = run_folder.log(*self._nodes[name])
    how = (
      f'was killed by {signal.Signals(-code).name}'
      if code < 0
      else f'ended with code {code}'
    )
    return f'The node {name!r} {how}. Its log: {path}\n{_traceback(path)}'


def _traceback(path: pathlib.Path) -> str:
  """Returns the last traceback in a log, or else its last lines."""
  if not path.exists():
    return 'It has written nothing.'
  lines = path.read_text(errors='replace').splitlines()
  starts = [i for i, line in enumerate(lines) if line.startswith('Traceback')]
  tail = lines[starts[-1] :] if starts else lines[-10:]
  return '\n'.join(tail[-_TRACEBACK_LINES:])
