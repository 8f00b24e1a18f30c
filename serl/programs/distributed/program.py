"""The Launchpad program: replay, learner, actors and evaluator as one graph."""

import dataclasses
import socket
import time
from typing import Literal

import launchpad as lp
from launchpad import address as lp_address

from serl.programs import config as config_lib
from serl.programs.distributed import actor
from serl.programs.distributed import evaluator
from serl.programs.distributed import learner
from serl.programs.distributed import process
from serl.replay import tables

Role = Literal['all', 'learner', 'actor']

REPLAY = 'replay'
_CALL_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Placement:
  """Which nodes run in this launch, and where the others are.

  Fields:
    role: 'all' nodes on this machine; or the 'learner' with the replay and the
      evaluator; or the 'actor' of the robot's machine.
    port_base: the replay listens on it and the learner on the next one; None
      takes free ones, which only 'all' can.
    learner_host: where the actor finds the learner.
  """

  role: Role = 'all'
  port_base: int | None = None
  learner_host: str = 'localhost'

  def __post_init__(self):
    if self.role not in ('all', 'learner', 'actor'):
      raise ValueError(
        f"role is {self.role!r}, expected 'all', 'learner' or 'actor'."
      )
    if self.role != 'all' and self.port_base is None:
      raise ValueError(
        f'The role {self.role!r} needs port_base: both sides must agree on '
        'the ports (the replay takes it, the learner the next one).'
      )

  def check_ports(self) -> None:
    """Raises OSError if a port that this launch listens on is taken."""
    if self.port_base is None or self.role == 'actor':
      return
    for port in (self.port_base, self.port_base + 1):
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


def make_program(
  config: config_lib.RunConfig,
  placement: Placement = HERE,
  clock: process.Clock | None = None,
) -> lp.Program:
  """Returns the Launchpad program of a run, or one role's part of it.

  Args:
    config: of the run.
    placement: which nodes, and where.
    clock: of the launch; a new one by default.
  """
  clock = clock or process.Clock(time.time(), time.time())
  folder = config.folder
  replay_node = _ReplayNode(
    lambda: tables.make_tables(
      config.builder.make_tables(), config.make_spec()
    ),
    folder,
  )
  replay = replay_node.create_handle()
  learner_node = _LearnerNode(
    learner.Learner,
    config,
    replay,
    clock,
    remote_actors=placement.role == 'learner',
  )
  learner_node.folder = folder
  served = learner_node.create_handle()
  served.set_client_kwargs(call_timeout=_CALL_TIMEOUT_S)
  if placement.port_base is not None:
    _place(replay_node, placement.learner_host, placement.port_base)
    _place(learner_node, placement.learner_host, placement.port_base + 1)
  program = lp.Program(folder.name)
  if placement.role in ('all', 'learner'):
    _add_learner(program, config, replay_node, learner_node)
    if config.evaluate:
      node = _Node(evaluator.Evaluator, config, served, clock)
      _add(program, node, folder, evaluator.NAME)
  if placement.role in ('all', 'actor'):
    where = placement.learner_host
    if placement.port_base is not None:
      where = f'{where}:{placement.port_base + 1}'
    for index in range(config.num_actors):
      node = _Node(actor.Actor, config, index, replay, served, where, clock)
      _add(program, node, folder, actor.name(index))
  return program


def _add(program: lp.Program, node, folder, name: str) -> None:
  node.folder, node.name = folder, name
  with program.group(name):
    program.add_node(node)


def _add_learner(program, config, replay_node, learner_node) -> None:
  if config.replay == 'learner':
    together = _Together(
      [replay_node, learner_node], return_on_first_completed=True
    )
    _add(program, together, config.folder, learner.NAME)
    return
  _add(program, replay_node, config.folder, REPLAY)
  _add(program, learner_node, config.folder, learner.NAME)


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
  """The learner."""


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
