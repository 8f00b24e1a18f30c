"""The Launchpad program: replay, learner, actors and evaluator as one graph."""

import dataclasses
import functools
import pathlib
import socket
import time
from typing import Literal, NamedTuple, get_args

import launchpad as lp
from launchpad import address as lp_address

from serl.programs import config as config_lib
from serl.programs.distributed import actor
from serl.programs.distributed import evaluator
from serl.programs.distributed import learner
from serl.programs.distributed import process
from serl.replay import tables

Role = Literal['all', 'learner', 'actor', 'evaluator']

REPLAY = 'replay'
_CALL_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Placement:
  """Which nodes run in this launch, and where the others are.

  Fields:
    role: 'all' nodes on this machine; or the 'learner' with the replay; or the
      'actor' of the robot's machine; or the 'evaluator', which any machine can
      be that simulates.
    port_base: the replay listens on it and the learner on the next one, those
      of another run on the next two; None takes free ones, which only 'all'
      can.
    learner_host: where actor and evaluator find the learner.
  """

  role: Role = 'all'
  port_base: int | None = None
  learner_host: str = 'localhost'

  def __post_init__(self):
    if self.role not in get_args(Role):
      raise ValueError(
        f'role is {self.role!r}, expected one of {get_args(Role)}.'
      )
    if self.role != 'all' and self.port_base is None:
      raise ValueError(
        f'The role {self.role!r} needs port_base: both sides must agree on '
        'the ports (the replay takes it, the learner the next one).'
      )

  def check_ports(self, runs: int = 1) -> None:
    """Raises OSError if a port that this launch listens on is taken.

    Args:
      runs: how many runs there are.
    """
    if self.port_base is None or self.role in ('actor', 'evaluator'):
      return
    for port in range(self.port_base, self.port_base + 2 * runs):
      with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
          probe.bind(('', port))
        except OSError as error:
          raise OSError(
            f'Port {port} cannot be listened on ({error.strerror}): another '
            'run may be using it. Stop it, or choose another port_base.'
          ) from error


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
      if run.replay == 'process':
        nodes[_label(task, REPLAY)] = Node(run.folder, REPLAY)
      nodes[_label(task, learner.NAME)] = Node(run.folder, learner.NAME)
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
    config: of the run or runs. Several take two ports each, one after another.
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
  acted: dict[str, process.Served] = {}
  for number, (task, run) in enumerate(runs.items()):
    replay_node = _ReplayNode(functools.partial(_make_tables, run), run.folder)
    replay = replay_node.create_handle()
    learner_node = _LearnerNode(
      learner.Learner,
      run,
      replay,
      clock,
      is_alone=placement.role == 'learner',
    )
    learner_node.folder = run.folder
    served = learner_node.create_handle()
    served.set_client_kwargs(call_timeout=_CALL_TIMEOUT_S)
    where = placement.learner_host
    if placement.port_base is not None:
      port = placement.port_base + 2 * number
      _place(replay_node, where, port)
      _place(learner_node, where, port + 1)
      where = f'{where}:{port + 1}'
    acted[task] = process.Served(run, replay, served, where)
    if placement.role in ('all', 'learner'):
      if run.replay == 'learner':
        learner_node = _Together([replay_node, learner_node])
      else:
        add(_label(task, REPLAY), replay_node)
      add(_label(task, learner.NAME), learner_node)
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


def _make_tables(config: config_lib.RunConfig):
  return tables.make_tables(config.builder.make_tables(), config.make_spec())


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
      super().run()


class _Node(_Prepared, lp.PyClassNode):
  """A node that serves nothing."""


class _LearnerNode(_Prepared, lp.CourierNode):
  """The learner; where the replay is in its process, that ends with it."""

  def run(self) -> None:
    super().run()
    if not self.name:
      lp.stop_event().set()


class _Together(_Prepared, lp.MultiThreadingColocation):
  """Replay and learner in one process."""


class _ReplayNode(_Prepared, lp.ReverbNode):
  """The replay."""

  def __init__(self, make_tables, folder):
    super().__init__(make_tables)
    self.folder = folder


class _At(lp_address.AbstractAddressBuilder):
  """An address that is known beforehand."""

  def __init__(self, address: str):
    self._address = address

  def build(self) -> str:
    return self._address


def _place(node: lp.ReverbNode | lp.CourierNode, host: str, port: int) -> None:
  """Gives a node an address that another machine can know too."""

  def bind_addresses(**_) -> None:
    for address in node.addresses:
      address.bind(_At(f'{host}:{port}'))

  # Launchpad binds the nodes of its own launch only.
  bind_addresses()
  node.bind_addresses = bind_addresses
