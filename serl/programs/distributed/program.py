"""The Launchpad program: replay, learner, actors and evaluator as one graph.

Only the learner's process imports the replay, and with it TensorFlow, which
takes seconds: neither the launcher nor the other nodes wait for it.
"""

import dataclasses
import functools
import pathlib
import socket
import threading
import time
from typing import Any, Literal, NamedTuple

import launchpad as lp
from launchpad import address as lp_address
from launchpad.nodes import base

from serl import configs
from serl.programs import config as config_lib
from serl.programs import training
from serl.programs.distributed import actor
from serl.programs.distributed import evaluator
from serl.programs.distributed import keys
from serl.programs.distributed import process
from serl.programs.distributed import rpc
from serl.programs.distributed import service
from serl.utils import addresses

Role = Literal['all', 'learner', 'actor', 'evaluator']

# A learner that was started at the same time imports JAX first.
_KEY_WAIT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Placement:
  """Which nodes run in this launch, and where the others are.

  Fields:
    role: 'all' nodes on this machine; or the 'learner' with the replay; or the
      'actor' of the robot's machine; or the 'evaluator', which any machine can
      be that simulates.
    port_base: the learner listens on it, that of another run on the next one;
      None takes free ones, which only 'all' can.
    learner_host: where actor and evaluator find the learner.
    key_file: of an actor or evaluator, the learner's key; None for that in the
      run's folder. See `keys`.
    on_accelerator: which nodes use an accelerator beside the learners: 'actor',
      'evaluator' or both. The others are on the CPU.
  """

  role: Role = configs.field('all', flag='--role')
  port_base: configs.Port | None = configs.field(None, flag='--port-base')
  learner_host: addresses.Host = configs.field(
    'localhost', flag='--learner-host'
  )
  key_file: configs.Path | None = configs.field(None, flag='--key-file')
  on_accelerator: tuple[Literal['actor', 'evaluator'], ...] = configs.field(
    (), flag='--on-accelerator'
  )

  def __post_init__(self):
    configs.check(self)
    configs.demand(
      self,
      (
        'port_base',
        self.role == 'all' or self.port_base is not None,
        f'a port for the role {self.role!r}: both sides must agree on that of '
        'the learner',
      ),
      (
        'key_file',
        self.key_file is None or not self.serves,
        f'None for the role {self.role!r}, which makes the key in its run '
        'folder: name it for actor or evaluator',
      ),
    )

  @property
  def serves(self) -> bool:
    """Whether the learner is in this launch."""
    return self.role in ('all', 'learner')

  @property
  def host(self) -> str:
    """The address that the learner listens on: only by role beyond this one."""
    return '[::]' if self.role == 'learner' else '127.0.0.1'

  def check_ports(self, runs: int = 1) -> None:
    """Checks the ports of the learners.

    Args:
      runs: how many runs there are.

    Raises:
      ValueError: there are no such ports.
      OSError: this launch listens on one that is taken.
    """
    if self.port_base is None:
      return
    addresses.check_ports(self.port_base, runs, 'port_base (--port-base)')
    if not self.serves:
      return
    host = '' if self.role == 'learner' else self.host
    for port in range(self.port_base, self.port_base + runs):
      addresses.check_free(port, host, 'port_base (--port-base)')

  def prepare_key(self, folder: pathlib.Path) -> pathlib.Path:
    """Returns the file of the launch's key, made where this launch serves.

    A learner's key stays while its run does: the other machines have a copy. An
    actor or evaluator beside its learner waits for the key.

    Raises:
      KeyFileError: an actor or evaluator has none, or other users can read it.
    """
    if self.key_file is not None:
      file = pathlib.Path(self.key_file).expanduser().resolve()
    else:
      file = keys.path(folder)
    if self.role == 'all' or (self.serves and not file.exists()):
      keys.make(file)
    if not self.serves and addresses.is_loopback(self.learner_host):
      keys.wait(file, _KEY_WAIT_S)
    keys.read(file)
    return file


HERE = Placement()


class Node(NamedTuple):
  """Where a node leaves its log and its status, and by what name."""

  folder: pathlib.Path
  name: str


def make_nodes(
  config: config_lib.RunConfig | config_lib.AlternatingRuns, role: Role = 'all'
) -> dict[str, Node]:
  """Returns the nodes of a role by the names of their groups in the program.

  Raises:
    ValueError: there is none: nothing is evaluated.
  """
  nodes = {}
  runs = config_lib.runs_of(config)
  if role in ('all', 'learner'):
    for task, run in runs.items():
      nodes[_label(task, service.LEARNER)] = Node(run.folder, service.LEARNER)
  if role in ('all', 'evaluator') and any(r.evaluate for r in runs.values()):
    nodes[evaluator.NAME] = Node(config.folder, evaluator.NAME)
  if role in ('all', 'actor'):
    for index in range(next(iter(runs.values())).num_actors):
      name = actor.name(index)
      nodes[name] = Node(config.folder, name)
  if not nodes:
    raise ValueError(
      f'There is nothing to do for the role {role!r}: the run has '
      'evaluate=False, as on a real robot, of which there is one. Stop the '
      'actor and evaluate a checkpoint: programs.evaluate, --evaluate=20.'
    )
  return nodes


def _label(task: str, name: str) -> str:
  return f'{task}_{name}' if task else name


def make_program(
  config: config_lib.RunConfig | config_lib.AlternatingRuns,
  placement: Placement = HERE,
  clock: process.Clock | None = None,
) -> lp.Program:
  """Returns the Launchpad program of a run or of several, or one role's part.

  Args:
    config: of the run or runs. Several take a port each, one after another.
    placement: which nodes, and where.
    clock: of the launch; a new one by default.
  """
  clock = clock or process.Clock(time.time(), time.time())
  program = lp.Program(config.folder.name)
  nodes = make_nodes(config, placement.role)

  def add(label: str, node) -> None:
    node.folder, node.name = nodes[label]
    with program.group(label):
      program.add_node(node)

  runs = config_lib.runs_of(config)
  key_file = placement.prepare_key(config.folder)
  acted: dict[str, process.Served] = {}
  for number, (task, run) in enumerate(runs.items()):
    replay_node = _ReplayNode(functools.partial(_make_tables, run), run.folder)
    where = placement.learner_host
    address = _HeldAddress(service.LEARNER)
    if placement.port_base is not None:
      where = addresses.join(where, placement.port_base + number)
      address = _KnownAddress(service.LEARNER, where)
    learner_node = _LearnerNode(
      run, replay_node.create_handle(), clock, placement, key_file, address
    )
    acted[task] = process.Served(run, learner_node.create_handle(), where)
    if placement.serves:
      node = _Together([replay_node, learner_node])
      add(_label(task, service.LEARNER), node)
  if evaluator.NAME in nodes:
    evaluated = {
      task: served for task, served in acted.items() if served.config.evaluate
    }
    add(
      evaluator.NAME,
      _Node(evaluator.Evaluator, evaluated, config.folder, clock),
    )
  for index in range(next(iter(runs.values())).num_actors):
    label = actor.name(index)
    if label in nodes:
      make = config.make_environment
      add(label, _Node(actor.Actor, acted, make, config.folder, index, clock))
  return program


def listeners(program: lp.Program) -> list[str]:
  """Returns a line for each port that a launched program listens on."""
  lines = []
  for label, nodes in program.groups.items():
    for node in nodes:
      for inner in getattr(node, 'nodes', ()):
        lines.append(f'{label}: {inner.describe_listener()}')
  return lines


def _make_tables(config: config_lib.RunConfig):
  from serl.replay import tables

  return tables.make_tables(config.builder.make_tables(), config.make_spec())


def _make_learner(*args, **kwargs) -> service.Learner:
  from serl.programs.distributed import learner

  return learner.Learner(*args, **kwargs)


class _Prepared:
  """Mixed into a node: its process gets a log file and knows its end."""

  folder = None
  name = ''

  def run(self) -> None:
    """Runs the node, in a process prepared for it unless it is another's."""
    if not self.name:
      super().run()
      return
    process.prepare(self.folder, self.name)
    with process.leaving():
      process.note_device(self.folder, self.name)
      super().run()


class _Node(_Prepared, lp.PyClassNode):
  """A node that serves nothing."""


class _LearnerHandle(base.Handle):
  """Gives the other nodes a `service.RemoteLearner`."""

  def __init__(
    self,
    address: lp_address.Address,
    key_file: pathlib.Path,
    config: config_lib.RunConfig,
  ):
    self._address = address
    self._key_file = key_file
    self._config = config

  def dereference(self) -> service.RemoteLearner:
    client = rpc.Client(self._address.resolve(), keys.read(self._key_file))
    return service.RemoteLearner(
      client, functools.partial(training.policy_params_like, self._config)
    )


class _LearnerNode(lp.PyClassNode):
  """The learner, and the door by which the other nodes call it."""

  def __init__(
    self,
    config: config_lib.RunConfig,
    replay: base.Handle,
    clock: process.Clock,
    placement: Placement,
    key_file: pathlib.Path,
    address: lp_address.Address,
  ):
    is_alone = placement.role == 'learner'
    super().__init__(_make_learner, config, replay, clock, is_alone=is_alone)
    self._config = config
    self._host = placement.host
    self._key_file = key_file
    self._address = address
    self.allocate_address(self._address)

  def create_handle(self) -> _LearnerHandle:
    return self._track_handle(
      _LearnerHandle(self._address, self._key_file, self._config)
    )

  def describe_listener(self) -> str:
    """Returns where it listens once it is launched, and for whom."""
    where = (
      'on every interface' if self._host == '[::]' else 'for this machine alone'
    )
    return (
      f'calls on {self._listens_on}, {where}, by the key in {self._key_file}'
    )

  @property
  def _listens_on(self) -> str:
    port = lp_address.get_port_from_address(self._address.resolve())
    return f'{self._host}:{port}'

  def run(self) -> None:
    """Serves the learner's calls while it trains."""
    instance = self._construct_instance()
    server = rpc.Server(
      service.methods(instance), self._listens_on, keys.read(self._key_file)
    )
    try:
      instance.run()
    finally:
      server.stop()
      self.ended.set()


class _ReplayHandle(base.Handle):
  """Gives the learner a `tables.Client`."""

  def __init__(self, address: lp_address.Address):
    self._address = address

  def dereference(self):
    from serl.replay import tables

    return tables.Client(self._address.resolve())


class _ReplayNode(lp.PyNode):
  """The replay, which only the learner's process uses.

  See `replay.server`.
  """

  def __init__(self, make_tables, folder: pathlib.Path):
    super().__init__(self.run)
    self._make_tables = make_tables
    self._folder = folder
    self._address = _HeldAddress('replay')
    self.allocate_address(self._address)

  def create_handle(self) -> _ReplayHandle:
    return self._track_handle(_ReplayHandle(self._address))

  def describe_listener(self) -> str:
    """Returns where it listens once it is launched, and for whom."""
    port = lp_address.get_port_from_address(self._address.resolve())
    return f'replay on 127.0.0.1:{port}, for this machine alone'

  def run(self) -> None:
    """Serves the tables until the learner has ended, which may take a while."""
    from serl.replay import server as replay_server

    port = lp_address.get_port_from_address(self._address.resolve())
    with replay_server.serving(self._make_tables(), port, self._folder):
      self.ended.wait()


class _Together(_Prepared, lp.MultiThreadingColocation):
  """Replay and learner in one process: what is drawn crosses no socket."""

  def run(self) -> None:
    """Runs both; the replay ends after the learner."""
    ended = threading.Event()
    for node in self.nodes:
      node.ended = ended
    super().run()


class _HeldAddress(lp_address.Address):
  """A free port of this machine, which the launcher holds for its node.

  Launchpad would let go of it for the seconds that the node's process needs
  until it listens there.
  """

  def __init__(self, name: str):
    super().__init__(name)
    self._held: socket.socket | None = None
    self._known = ''

  def bind(self, address_builder: lp_address.AbstractAddressBuilder) -> None:
    """Takes a port instead of one of Launchpad's."""
    self._held = addresses.hold_free()
    self._known = addresses.join('localhost', self._held.getsockname()[1])

  def resolve(self) -> str:
    """Returns HOST:PORT."""
    return self._known

  def __getstate__(self) -> dict[str, Any]:
    """Returns what a node's process knows of it."""
    return {**super().__getstate__(), '_held': None}


class _KnownAddress(lp_address.Address):
  """An address that another machine can know, too."""

  def __init__(self, name: str, address: str):
    super().__init__(name)
    self._known = address

  def bind(self, address_builder: lp_address.AbstractAddressBuilder) -> None:
    """Does nothing: Launchpad would take a free port of this machine."""

  def resolve(self) -> str:
    """Returns HOST:PORT."""
    return self._known
