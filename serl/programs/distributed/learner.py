"""The learner's node: trains, and tells the others what they ask for."""

import threading
import time

from absl import logging
import launchpad as lp

from serl import core
from serl.programs import config as config_lib
from serl.programs import training as training_lib
from serl.programs.distributed import process
from serl.replay import iterators
from serl.replay import packing as packing_lib
from serl.replay import tables
from serl.replay import writing
from serl.utils import loggers

NAME = 'learner'
_POLL_S = 0.1  # between two looks at the replay
_IDLE_S = 0.01  # a pause while no round is due
# For the nodes elsewhere to hear that the run is over; and for those that have
# lost contact to find back, at the least.
_FAREWELL_S, _RETURN_S = 30.0, 8.0


class Learner:
  """Runs the training; its public methods are called by the other nodes."""

  def __init__(
    self,
    config: config_lib.RunConfig,
    replay: tables.Client,
    clock: process.Clock,
    is_alone: bool = False,
  ):
    """Initialises the node.

    Args:
      config: of the run.
      replay: the server of the tables.
      clock: of the launch.
      is_alone: whether the nodes of other launches are to be told the end.
    """
    self._config = config
    self._replay = replay
    self._clock = clock
    self._is_alone = is_alone
    self._training: training_lib.Training | None = None
    self._inserted: dict[str, int] = {}
    self._over = ''  # why the run is over
    self._callers: set[str] = set()  # nodes that ask whether it is over
    self._told: set[str] = set()  # that it is
    self._lock = threading.Lock()

  # What the other nodes call.

  def get_variables(self, after: int) -> core.Variables | None:
    """Returns newer parameters, packed; None if none come in a moment."""
    return self._training.get_variables(after) if self._training else None

  def inserted_episodes(self, actor: str) -> int:
    """Returns how many of an actor's logged episodes are in the replay."""
    with self._lock:
      return self._inserted.get(actor, 0)

  def episode_inserted(self, actor: str, index: int) -> None:
    """Notes that episode `index` of an actor's log is in the replay."""
    with self._lock:
      # A learner that was started anew counts from 0: it wants all of them.
      if self._inserted.get(actor, 0) == index:
        self._inserted[actor] = index + 1

  def over(self, caller: str) -> str:
    """Returns why the run is over, nothing while it is not."""
    self._callers.add(caller)
    if self._over:
      self._told.add(caller)
    return self._over

  def evaluated(self, successes: int, episodes: int) -> None:
    """Notes what the evaluator saw."""
    wanted = self._config.stop_at_successes
    if wanted is not None and successes >= wanted:
      self._over = f'{successes} of {episodes} evaluation episodes succeeded'

  # The node's own thread.

  def run(self) -> None:
    """Trains until the run is over or is stopped; checkpoints at the end."""
    stop = lp.stop_event()
    status = process.Status(self._config.folder, NAME)
    logger = loggers.make_logger(
      self._config.folder, NAME, self._config.wandb, self._clock.origin
    )
    training = self._make_training(logger, status)
    looked, states = time.monotonic(), tables.states(self._replay)
    while not stop.is_set() and not self._over:
      now = time.monotonic()
      if now - looked >= _POLL_S:
        looked, states = now, tables.states(self._replay)
      pause = self._round(training, states, status)
      if pause:
        stop.wait(pause)
    # Of the last look: the replay may be what has failed.
    training.save(self._env_steps(states))
    training.log(self._env_steps(states), _sizes(states))
    logger.close()
    logging.info(
      'Ended at learner step %d: %s.',
      training.learner_steps,
      self._over or 'stopped',
    )
    status.say(self._over)
    if self._over and self._is_alone:
      self._say_farewell(stop)

  def _make_training(
    self, logger: loggers.Logger, status: process.Status
  ) -> training_lib.Training:
    """Fills the tables from files and builds what trains."""
    config = self._config
    status.say('building the networks')
    spec = config.make_spec()
    self._insert_recorded(spec)
    iterator = iterators.make_iterator(
      self._replay.server_address,
      config.builder.make_tables(),
      spec,
      config.builder.batch_spec(),
    )
    training = training_lib.Training(config, spec, iterator, logger)
    # From here on there are parameters to act with.
    self._training = training
    status.say('compiling')
    training.compile()
    return training

  def _round(
    self,
    training: training_lib.Training,
    states: dict[str, tables.TableState],
    status: process.Status,
  ) -> float:
    """Does a round if one is due; returns how long to wait if none is, s."""
    env_steps = self._env_steps(states)
    seconds = time.time() - self._clock.launched
    limit = training_lib.limit_reached(self._config, env_steps, seconds)
    self._over = self._over or limit
    missing = [
      f'{table.name} {states[table.name].size} of {table.min_size}'
      for table in self._config.builder.make_tables()
      if states[table.name].size < table.min_size
    ]
    if missing:
      status.say('waiting for transitions: ' + ', '.join(missing))
      return _POLL_S
    if not training.may_step(env_steps):
      return _IDLE_S
    status.say('')
    training.step(env_steps, _sizes(states))
    return 0.0

  def _env_steps(self, states: dict[str, tables.TableState]) -> int:
    return states[training_lib.online_table(self._config).name].inserted

  def _insert_recorded(self, spec) -> None:
    packing = packing_lib.Packing(spec)
    for names, episodes in training_lib.recorded(self._config, spec):
      for episode in episodes:
        writing.insert(self._replay, packing, episode, names)
      logging.info('Inserted %d episodes: %s.', len(episodes), ', '.join(names))

  def _say_farewell(self, stop: threading.Event) -> None:
    began = time.monotonic()
    while not stop.is_set():
      waited = time.monotonic() - began
      all_told = waited > _RETURN_S and self._told == self._callers
      if all_told or waited > _FAREWELL_S:
        return
      stop.wait(0.1)


def _sizes(states: dict[str, tables.TableState]) -> dict[str, int]:
  return {name: state.size for name, state in states.items()}
