"""Kills a real run at random moments, resumes it, and counts what was lost.

python benchmarks/chaos.py
python benchmarks/chaos.py --kills=15 --example=sac_state_sim

Each time a random node, or the launcher itself, is killed by SIGKILL at a
random moment after the start. The run has to end by itself, to leave no process
behind, and to go on by the same command. Lost is an episode whose metrics an
actor wrote and whose file is not there or not whole, or that the resumed replay
lacks.
"""

import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
from absl import logging
import psutil
import report

from serl.demos import files
from serl.utils import loggers

_KILLS = flags.DEFINE_integer('kills', 10, 'Number of kills.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the victims and the moments.')
_LATEST = flags.DEFINE_float(
  'latest', 30.0, 'Seconds after the start of training, at most, to a kill.'
)
_EXAMPLE = flags.DEFINE_string('example', 'rlpd_state_sim', 'Name of the run.')
_ARGS = flags.DEFINE_string('args', '--preset=cpu', 'Flags of the example.')
_FOLDER = flags.DEFINE_string(
  'folder', None, 'Folder of the run; a temporary one by default.'
)

_EXAMPLES = pathlib.Path(__file__).parent.parent / 'examples'
_NODES = ('learner', 'actor_0', 'evaluator')
_LAUNCHER = 'launcher'
_PATIENCE_S = 600.0
_END_S = 60.0  # for a run whose node was killed


class Launch:
  """A launch of the run as a process, and its nodes."""

  def __init__(self, folder: pathlib.Path, *more: str):
    self._folder = folder
    self._began = time.time()
    self._output = (folder.parent / 'output.txt').open('a')
    self.process = subprocess.Popen(
      [
        sys.executable,
        str(_EXAMPLES / f'{_EXAMPLE.value}.py'),
        f'--run={folder}',
        '--nostop-at-success',
        *_ARGS.value.split(),
        *more,
      ],
      stdout=self._output,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    self.nodes: dict[str, psutil.Process] = {}

  def wait_until_acting(self) -> None:
    """Waits for all nodes, and for an episode of this launch."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
      self._find_nodes()
      records = loggers.read_metrics(self._folder, 'actor_0')
      newest = self._folder / 'metrics' / 'actor_0.jsonl'
      all_run = len(self.nodes) == len(_NODES)
      if all_run and records and newest.stat().st_mtime > self._began:
        return
      if self.process.poll() is not None:
        raise RuntimeError(f'The run ended by itself: see {self._output.name}.')
      time.sleep(0.1)
    raise RuntimeError(f'No episode in {_PATIENCE_S} s: {self._output.name}.')

  def kill(self, victim: str) -> float:
    """Kills a node or the launcher; returns the seconds until all had ended."""
    killed = time.monotonic()
    target = self.process if victim == _LAUNCHER else self.nodes[victim]
    target.kill()
    self.process.wait(_END_S)
    psutil.wait_procs(self.nodes.values(), timeout=_END_S)
    return time.monotonic() - killed

  def orphans(self) -> int:
    """Returns how many nodes are still there, and ends them."""
    left = [node for node in self.nodes.values() if node.is_running()]
    for node in left:
      node.kill()
    return len(left)

  def _find_nodes(self) -> None:
    for name in _NODES:
      log = self._folder / 'logs' / f'{name}.txt'
      if name in self.nodes or not log.exists():
        continue
      if log.stat().st_mtime < self._began:
        continue
      found = re.findall(r'runs as process (\d+)', log.read_text())
      if found and psutil.pid_exists(int(found[-1])):
        node = psutil.Process(int(found[-1]))
        if node.create_time() >= self._began - 1:
          self.nodes[name] = node


def _finished(folder: pathlib.Path) -> int:
  """Returns how many episodes the actor says it has finished."""
  records = loggers.read_metrics(folder, 'actor_0')
  return int(records[-1]['episodes']) if records else 0


def _whole(folder: pathlib.Path) -> dict[str, int]:
  """Returns the lengths of the logged episodes that can be read whole."""
  lengths = {}
  for path in files.find(folder / 'episodes' / 'actor_0'):
    try:
      lengths[path.name] = files.read(path)[0].length
    except files.FileError as error:
      logging.error('%s', error)
  return lengths


def _wait_for_replay(launch: Launch, folder: pathlib.Path, steps: int) -> int:
  """Returns how many of the logged steps a resumed replay lacks in the end."""
  deadline = time.monotonic() + _PATIENCE_S
  held = 0
  while time.monotonic() < deadline and launch.process.poll() is None:
    records = loggers.read_metrics(folder, 'learner')
    held = int(records[-1]['env_steps']) if records else 0
    if held >= steps:
      return 0
    time.sleep(0.5)
  return steps - held


def main(_) -> None:
  rng = random.Random(_SEED.value)
  base = pathlib.Path(_FOLDER.value or tempfile.mkdtemp(prefix='chaos_'))
  base.mkdir(parents=True, exist_ok=True)
  folder = base / 'run'
  seconds, victims, lost, orphans = [], [], 0, 0
  before: dict[str, int] = {}
  for number in range(_KILLS.value):
    launch = Launch(folder)
    launch.wait_until_acting()
    time.sleep(rng.uniform(0, _LATEST.value))
    victim = rng.choice((*_NODES, _LAUNCHER))
    seconds.append(launch.kill(victim))
    victims.append(victim)
    orphans += launch.orphans()
    whole = _whole(folder)
    lost += max(0, _finished(folder) - len(whole))
    lost += len(before.keys() - whole.keys())
    before = whole
    logging.info(
      'Kill %d of %d: %s, ended in %.1f s; %d episodes, %d lost, %d orphans.',
      number + 1,
      _KILLS.value,
      victim,
      seconds[-1],
      len(whole),
      lost,
      orphans,
    )
  last = Launch(folder)
  last.wait_until_acting()
  missing = _wait_for_replay(last, folder, sum(before.values()))
  last.process.terminate()
  last.process.wait(_END_S)
  report.emit(
    'chaos',
    example=_EXAMPLE.value,
    kills=_KILLS.value,
    victims={victim: victims.count(victim) for victim in sorted(set(victims))},
    episodes=len(before),
    episodes_lost=lost,
    steps_missing_in_replay=missing,
    orphans=orphans + last.orphans(),
    median_s_to_end=statistics.median(seconds),
    max_s_to_end=max(seconds),
  )


if __name__ == '__main__':
  app.run(main)
