"""Real Launchpad processes, a real Reverb server: how runs end and go on."""

from collections.abc import Mapping
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import psutil
import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

from serl import programs
from serl.demos import files
from serl.programs.distributed import heartbeat
from serl.programs.distributed import keys
from serl.programs.distributed import process
from serl.programs.distributed import program
from serl.programs.distributed import table
from serl.utils import checkpointing
from serl.utils import loggers
from tests.programs.distributed import fake_run
from tests.utils import environment_variables_test

pytestmark = pytest.mark.timeout(900)

_SCRIPT = pathlib.Path(__file__).parent / 'fake_run.py'
_PATIENCE_S = 280  # far more than anything takes on a loaded machine


class Launch:
  """A launcher as a process, as a user's shell would start it."""

  def __init__(
    self,
    folder: pathlib.Path,
    *flags: str,
    variables: Mapping[str, str] | None = None,
  ):
    self.folder = folder
    folder.parent.mkdir(exist_ok=True)
    self._path = folder.parent / f'output_{time.time_ns()}.txt'
    self._output = self._path.open('w')
    self.process = subprocess.Popen(
      [sys.executable, str(_SCRIPT), f'--run={folder}', *flags],
      stdout=self._output,
      stderr=subprocess.STDOUT,
      env={**os.environ, **(variables or {})},
      start_new_session=True,
    )
    self._nodes: list[psutil.Process] = []

  def output(self) -> str:
    return self._path.read_text()

  def wait(self) -> int:
    return self.process.wait(_PATIENCE_S)

  def until(self, condition, what: str):
    """Returns the first true value of `condition`."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
      self._remember_nodes()
      if value := condition():
        return value
      assert self.process.poll() is None, f'ended early:\n{self.output()}'
      time.sleep(0.1)
    raise AssertionError(f'{what} did not come:\n{self.output()}')

  def until_started(self, node: str) -> None:
    log = self.folder / 'logs' / f'{node}.txt'
    log.unlink(missing_ok=True)  # of an earlier launch
    self.until(lambda: log.exists() and log.read_text(), f'the start of {node}')

  def until_training(self, updates: int = 20) -> None:
    start = self.learner_steps()
    self.until(lambda: self.learner_steps() >= start + updates, 'training')
    checkpoints = self.folder / 'checkpoints'
    self.until(lambda: _checkpoints(checkpoints), 'a checkpoint')

  def learner_steps(self) -> int:
    records = loggers.read_metrics(self.folder, 'learner')
    return int(records[-1]['learner_steps']) if records else 0

  def node(self, name: str) -> psutil.Process:
    """Returns the process of a node, as its log tells it; 'TASK/NODE'."""
    part, name = os.path.split(name)
    log = (self.folder / part / 'logs' / f'{name}.txt').read_text()
    return psutil.Process(int(re.findall(r'runs as process (\d+)', log)[-1]))

  def alive(self) -> list[psutil.Process]:
    """Returns the nodes' processes that are still there."""
    return [
      node
      for node in self._nodes
      if node.is_running() and node.status() != psutil.STATUS_ZOMBIE
    ]

  def close(self) -> None:
    self._remember_nodes()
    for node in self._nodes:
      with contextlib.suppress(psutil.NoSuchProcess):
        node.kill()
    self.process.kill()
    self.process.wait()
    self._output.close()

  def _remember_nodes(self) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
      children = psutil.Process(self.process.pid).children(recursive=True)
      self._nodes += [c for c in children if c not in self._nodes]


@pytest.fixture
def launch(tmp_path):
  """Starts launches of one run folder and leaves none behind."""
  launches = []

  def start(*flags: str) -> Launch:
    launches.append(Launch(tmp_path / 'run', *flags))
    return launches[-1]

  yield start
  for started in launches:
    started.close()


def _checkpoints(folder: pathlib.Path) -> list[int]:
  if not folder.exists():
    return []
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def _logged_steps(folder: pathlib.Path) -> int:
  """Returns the steps of all logged episodes; reading checks each file."""
  steps = 0
  for path in (folder / 'episodes').rglob('*.npz'):
    steps += files.read(path)[0].length
  return steps


def _resume(launch, folder: pathlib.Path, *flags: str) -> Launch:
  """Goes on with the run and checks that nothing of it was lost."""
  step = _checkpoints(folder / 'checkpoints')[-1]
  steps = _logged_steps(folder)
  again = launch(*flags)
  again.until_training()
  log = (folder / 'logs' / 'learner.txt').read_text()
  assert f'Going on from the checkpoint of learner step {step}.' in log

  def all_there() -> bool:
    last = loggers.read_metrics(folder, 'learner')[-1]
    # The replay of this launch holds the episodes of those before as well.
    return last['env_steps'] == last['replay_size'] >= steps

  again.until(all_there, 'the experience of the launches before')
  return again


@pytest.fixture(scope='module')
def succeeded(tmp_path_factory):
  """A run that ended by success, in an environment of odd variables."""
  folder = tmp_path_factory.mktemp('succeeded') / 'größe' / 'run'
  variables = environment_variables_test.HARMLESS
  run = Launch(folder, '--success=1', variables=variables)
  try:
    assert run.wait() == 0, run.output()
  finally:
    run.close()
  return run


def test_ends_when_the_evaluator_has_seen_enough(succeeded):
  run = succeeded
  assert '3 of 3 evaluation episodes succeeded' in run.output()
  assert 'succeeded in 3 of 3 new episodes' in run.output()
  summary = json.loads((run.folder / 'summary.json').read_text())
  assert summary['successes'] == 3
  for path in (run.folder / 'episodes').rglob('*.npz'):
    assert files.read_header(path)['metadata'][files.RATE] == 20
  assert (
    _checkpoints(run.folder / 'checkpoints')[-1] == (summary['learner_steps'])
  )
  assert (run.folder / 'learning_curve.png').stat().st_size > 10_000
  # The fake has no pictures: said, and no reason to fail.
  assert 'Video:           none:' in run.output()
  for node in ('learner', 'actor_0', 'evaluator'):
    # Once started, each may be silent for so long.
    assert heartbeat.path(run.folder, node).read_text() == '45'
    assert loggers.read_metrics(run.folder, node)
    assert list((run.folder / 'tensorboard' / node).iterdir())


def test_variables_that_concern_others_change_nothing(succeeded):
  for node in ('learner', 'actor_0', 'evaluator'):
    log = (succeeded.folder / 'logs' / f'{node}.txt').read_text()
    assert 'Computes on ' in log
  device = process.read_device(succeeded.folder, 'actor_0')
  assert device == 'cpu'
  told = table.Progress(
    fake_run.make_config(succeeded.folder),
    [program.Node(succeeded.folder, 'actor_0')],
  )
  assert ('device', 'actor_0 cpu') in told.rows()


def test_a_folder_of_another_configuration_is_refused(succeeded):
  other = Launch(succeeded.folder, '--learning_rate=0.1')
  try:
    assert other.wait() == 1
  finally:
    other.close()
  assert 'holds a run of another configuration' in other.output()
  assert 'critic_learning_rate: 0.001 in the folder, 0.1 now' in other.output()


def _tear(path: pathlib.Path) -> None:
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])


def test_nothing_that_is_damaged_is_loaded_or_waited_for(launch, tmp_path):
  flags = {'steps_per_second': None, 'evaluate': False}
  for steps in (60, 80):
    config = fake_run.make_config(
      tmp_path / 'run', max_env_steps=steps, **flags
    )
    programs.run_local(config)
  older, newest = _checkpoints(config.folder / 'checkpoints')[-2:]
  episodes = config.folder / 'episodes' / 'actor_0'
  for path in (config.folder / 'checkpoints' / str(newest)).rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  for torn in (
    episodes / '000001.npz',
    episodes / 'index.jsonl',
    config.folder / 'config.json',
    config.folder / 'metrics' / 'learner.jsonl',
    config.folder / 'summary.json',
  ):
    _tear(torn)
  (config.folder / 'logs' / 'learner.status').write_bytes(bytes(20))
  run = launch('--max-env-steps=120')
  assert run.wait() == 0, run.output()
  assert 'DAMAGED: config.json: ' in run.output()
  assert 'DAMAGED: episodes/actor_0/000001.npz: torn or' in run.output()
  assert f'DAMAGED: checkpoints/{newest}: its counters' in run.output()
  assert 'learner.jsonl: 1 of 1 lines cannot be read' in run.output()
  log = (config.folder / 'logs' / 'learner.txt').read_text()
  assert f'Going on from the checkpoint of learner step {older}.' in log
  assert 'orbax' not in log and 'JSON' not in log
  summary = json.loads((config.folder / 'summary.json').read_text())
  assert summary['damaged_episodes'] == 1
  # 7 of 8 episodes are there, and new ones up to the limit.
  assert summary['env_steps'] >= 120
  assert (config.folder / 'damaged/episodes/actor_0/000001.npz').exists()
  assert not (episodes / '000001.npz').exists()


def test_whatever_is_killed_or_stopped_the_run_goes_on(launch):
  for node in ('learner', 'evaluator'):
    run = launch()
    run.until_started(node)
    run.node(node).kill()
    _check_killed(run, node)
  run = launch()
  run.until_training()
  _check_open_to_this_machine_alone(run)
  for node in ('learner', 'actor_0'):
    run.node(node).kill()
    _check_killed(run, node)
    run = _resume(launch, run.folder)
  for number in (signal.SIGQUIT, signal.SIGHUP):
    if number == signal.SIGQUIT:
      # A Ctrl-\\ reaches the whole foreground group, nodes included.
      os.killpg(run.process.pid, number)
    else:
      run.process.send_signal(number)  # its terminal is closed
    assert run.wait() == 130, run.output()
    assert not run.alive()
    # Reverb's own folder goes with the run's end.
    assert not list(run.folder.glob('.reverb_*'))
    last = loggers.read_metrics(run.folder, 'learner')[-1]['learner_steps']
    assert _checkpoints(run.folder / 'checkpoints')[-1] == last
    run = _resume(launch, run.folder)
  # No node outlives its launcher.
  nodes = run.alive()
  run.process.kill()
  psutil.wait_procs(nodes, _PATIENCE_S)
  assert not run.alive()


def _check_killed(run: Launch, node: str) -> None:
  assert run.wait() == 1, run.output()
  assert f"The node '{node}' was killed by SIGKILL" in run.output()
  assert not run.alive()


def _check_open_to_this_machine_alone(run: Launch) -> None:
  listening = {
    # gRPC's sockets take IPv4 as IPv6.
    (connection.laddr.ip.removeprefix('::ffff:'), connection.laddr.port)
    for process in (psutil.Process(run.process.pid), *run.alive())
    for connection in process.net_connections('tcp')
    if connection.status == psutil.CONN_LISTEN
  }
  assert len(listening) == 2
  for host, port in listening:
    assert host == '127.0.0.1'
    assert f'127.0.0.1:{port}, for this machine alone' in run.output()
    with pytest.raises(ConnectionRefusedError):
      socket.create_connection(('127.0.0.2', port), 5)
  assert (run.folder / 'key.pem').stat().st_mode & 0o777 == 0o600
  assert list(run.folder.glob('.reverb_*'))


def test_a_folder_that_is_deleted_ends_the_run_and_is_named(launch):
  run = launch()
  run.until_training(1)
  run.folder.rename(run.folder.with_name('moved'))
  assert run.wait() == 1, run.output()
  assert f'{run.folder} was deleted or moved' in run.output()
  assert not run.alive()


def test_steps_of_a_person_are_in_both_tables_again_after_a_restart(launch):
  run = launch('--person', '--max-env-steps=100')
  assert run.wait() == 0, run.output()
  steps = _logged_steps(run.folder)
  again = launch('--person', f'--max-env-steps={steps + 50}')
  assert again.wait() == 0, again.output()
  last = loggers.read_metrics(run.folder, 'learner')[-1]
  assert last['replay_size'] >= steps + 50
  # Beside 3 recorded episodes of 10 steps. The last look at the tables may
  # have been amid an episode.
  of_person = last['demonstrations_size'] - 30
  assert abs(of_person - 0.4 * last['replay_size']) <= 2
  metrics = loggers.read_metrics(run.folder, 'actor_0')
  assert {m['intervened'] for m in metrics} == {0.4}


def test_two_tasks_of_one_actor_have_a_learner_each(launch):
  run = launch('--alternating')
  parts = [run.folder / task for task in ('there', 'back')]

  def evaluated() -> bool:
    return all(loggers.read_metrics(part, 'evaluator') for part in parts)

  run.until(evaluated, 'the evaluation of both')
  shares = [
    int(run.node(f'{task}/learner').environ()['NPROC'])
    for task in ('there', 'back')
  ]
  assert sum(shares) == max(2, 2 * (len(os.sched_getaffinity(0)) // 2))
  # No node waits for learners that do not answer.
  for task in ('there', 'back'):
    run.node(f'{task}/learner').suspend()
  time.sleep(1)  # an actor of whole episodes asks within it
  os.killpg(run.process.pid, signal.SIGINT)  # a Ctrl-C
  assert run.wait() == 130, run.output()
  killed = re.findall(r'(\w+) did not end', run.output())
  assert sorted(killed) == ['back_learner', 'there_learner']
  assert not run.alive()
  logged = [_logged_steps(part) for part in parts]
  assert min(logged) > 0 and abs(logged[0] - logged[1]) <= 10
  again = launch('--alternating', f'--max-env-steps={logged[0] + 50}')
  assert again.wait() == 0, again.output()
  for part, steps in zip(parts, logged):
    last = loggers.read_metrics(part, 'learner')[-1]
    assert last['env_steps'] == last['replay_size'] >= steps
    assert (part / 'summary.json').exists()
  assert again.output().count('Ended: the limit of') == 2


def test_a_robot_that_fails_for_ever_is_shown_and_ends_the_run(launch):
  run = launch('--fault=dead', '--fault-minutes=0.1')

  def shown() -> str:
    status = run.folder / 'logs' / 'actor_0.status'
    text = status.read_text() if status.exists() else ''
    return text if 'fault' in text else ''

  since, text = run.until(shown, 'the fault').split('\n')
  assert 0 <= time.time() - float(since) < _PATIENCE_S
  assert re.fullmatch(r'fault \d+: the arm has no power', text)
  assert run.wait() == 1, run.output()
  assert "The node 'actor_0' ended with code 1" in run.output()
  assert 'No step has succeeded for ' in run.output()
  assert 'The last fault: the arm has\nno power' in run.output()
  faults = [
    record
    for record in loggers.read_metrics(run.folder, 'actor_0')
    if 'fault' in record
  ]
  assert [record['faults'] for record in faults] == [
    1 + index for index in range(len(faults))
  ]
  assert faults[-1]['fault'] == 'the arm has\nno power'
  assert faults[-1]['fault_s'] >= 6
  # What was learned before is there.
  last = loggers.read_metrics(run.folder, 'learner')[-1]['learner_steps']
  assert _checkpoints(run.folder / 'checkpoints')[-1] == last


def test_an_environment_that_does_not_return_ends_the_run(launch):
  run = launch('--fault=reset', '--step-limit=200', '--reset-limit=2')
  assert run.wait() == 1, run.output()
  assert 'actor_0: environment.reset has not returned for 2 s' in run.output()
  assert 'threading.Event().wait()' in run.output()
  assert not run.alive()


def test_minutes_count_from_the_first_update_and_are_kept_by_role(
  launch, tmp_path
):
  key = tmp_path / 'run' / 'key.pem'
  keys.make(key)
  flags = (f'--port-base={_free_port()}', '--minutes=0.05')
  actor = Launch(
    tmp_path / 'actor' / 'run', '--role=actor', f'--key-file={key}', *flags
  )
  try:
    learner = launch('--role=learner', *flags)
    assert learner.wait() == 0, learner.output()
    assert 'Ended: the limit of 0.05 min' in learner.output()
    assert loggers.read_metrics(learner.folder, 'learner')[-1]['learner_steps']
    assert actor.wait() == 0, actor.output()
  finally:
    actor.close()


def test_a_launch_that_learns_nothing_is_no_success(launch):
  run = launch('--max-env-steps=10')
  assert run.wait() == 3, run.output()
  last = run.output().strip().splitlines()[-1]
  assert last.startswith('Not a success: nothing was learned'), last
  summary = json.loads((run.folder / 'summary.json').read_text())
  assert summary['success'] is False
  assert len(summary['problems']) == 1


def test_diverging_loss_ends_the_run_and_spoils_no_checkpoint(launch):
  run = launch('--learning_rate=1e30')
  assert run.wait() == 1, run.output()
  assert 'NonFiniteError' in run.output()
  assert 'critic_loss = ' in run.output()
  checkpointer = checkpointing.Checkpointer(run.folder / 'checkpoints')
  found = checkpointer.restore_latest(_template(run.folder))
  if found is not None:
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found[1]))


def test_reward_that_is_nan_is_told_and_not_stored(launch):
  run = launch('--fault=nan')
  assert run.wait() == 1, run.output()
  assert "The node 'actor_0' ended with code 1" in run.output()
  assert 'Traceback' in run.output()
  assert 'reward is nan at step 0 of the episode' in run.output()
  assert _logged_steps(run.folder) == 150


def _template(folder: pathlib.Path):
  config = fake_run.make_config(folder)
  networks = config.builder.make_networks(fake_run.SPEC)
  return config.builder.make_algorithm(networks).init(jax.random.PRNGKey(0))


def test_taken_port_is_named(launch):
  with socket.socket() as taken:
    taken.bind(('', 0))
    taken.listen()
    port = taken.getsockname()[1]
    run = launch('--role=learner', f'--port-base={port}')
    assert run.wait() == 1
  assert f'Port {port} cannot be listened on' in run.output()


def test_launches_by_role_survive_a_restart_of_the_learner(launch, tmp_path):
  port = _free_port()
  learner_key = tmp_path / 'run' / 'key.pem'
  keys.make(learner_key)  # a learner keeps it; the others have a copy
  actor_run = tmp_path / 'actor' / 'run'
  actor_run.mkdir(parents=True)
  shutil.copy(learner_key, actor_run)
  key_flags = {'actor': (), 'evaluator': (f'--key-file={learner_key}',)}
  actor, evaluator = others = [
    Launch(
      tmp_path / role / 'run',
      f'--role={role}',
      f'--port-base={port}',
      # Another address than the one that everything else here has.
      '--learner-host=127.0.0.2',
      *key_flags[role],
    )
    for role in ('actor', 'evaluator')
  ]
  try:
    for other in others:
      other.until(
        lambda o=other: 'waiting for the learner at 127.0.0.2' in o.output(),
        'the word of whom it waits for',
      )
    flags = ('--role=learner', f'--port-base={port}')
    learner = launch(*flags)
    learner.until_training()
    assert f'[::]:{port}, on every interface' in learner.output()
    evaluator.until(
      lambda: loggers.read_metrics(evaluator.folder, 'evaluator'), 'a sweep'
    )
    learner.node('learner').kill()
    assert learner.wait() == 1
    steps = _logged_steps(actor.folder)
    again = launch(*flags, f'--max-env-steps={steps + 200}')
    # What the actor had collected is in the new replay as well.
    assert again.wait() == 0, again.output()
    last = loggers.read_metrics(again.folder, 'learner')[-1]
    assert last['env_steps'] >= steps
    for other in others:
      assert other.wait() == 0, other.output()
      assert 'The learner says that the run is over' in other.output()
    swept = loggers.read_metrics(evaluator.folder, 'evaluator')
    assert swept[-1]['learner_steps'] > 0
    assert not loggers.read_metrics(again.folder, 'evaluator')
  finally:
    for other in others:
      other.close()


def test_a_learner_of_another_agent_or_key_is_refused(launch, tmp_path):
  port = _free_port()
  learner = launch('--role=learner', f'--port-base={port}')
  key = tmp_path / 'run' / 'key.pem'
  learner.until(key.exists, 'the key')
  keys.make(tmp_path / 'other.pem')
  flags = ('--role=actor', f'--port-base={port}')
  others = [
    Launch(tmp_path / name / 'run', *flags, *more)
    for name, more in (
      ('keyless', ()),
      ('stranger', (f'--key-file={tmp_path / "other.pem"}',)),
      ('another', (f'--key-file={key}', '--learning_rate=0.5')),
    )
  ]
  keyless, stranger, another = others
  try:
    assert keyless.wait() == 1
    assert 'key.pem is not there' in keyless.output()
    stranger.until(
      lambda: 'holds another key than this node' in stranger.output(),
      'the word of the key',
    )
    assert another.wait() == 1
    expected = 'critic_learning_rate: 0.001 at the learner, 0.5 now'
    assert expected in another.output()
    assert not _logged_steps(stranger.folder)
  finally:
    for other in others:
      other.close()


def _free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('', 0))
    return probe.getsockname()[1]
