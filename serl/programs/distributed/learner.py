"""The learner's node: trains, and answers the calls of the other nodes."""

from collections.abc import Mapping
import math
import threading
import time
from typing import Any

from absl import logging
import launchpad as lp

from serl import core
from serl import types
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs import ratio
from serl.programs import run_folder
from serl.programs import training as training_lib
from serl.programs.distributed import heartbeat
from serl.programs.distributed import process
from serl.programs.distributed import service
from serl.replay import adders
from serl.replay import iterators
from serl.replay import packing as packing_lib
from serl.replay import steps
from serl.replay import tables
from serl.replay import writing
from serl.utils import loggers

NAME = service.LEARNER
_POLL_S = 0.1  # between two looks at the replay
_IDLE_S = 0.01  # a pause while no round is due
# For the updates that are due when the last step is taken, where actors did not
# wait; what they may be ahead by if they do is made up for, however slowly.
_CATCH_UP_S = 60.0
# For the nodes elsewhere to hear that the run is over; and for those that have
# lost contact to find back, at the least.
_FAREWELL_S, _RETURN_S = 30.0, 8.0
_LAST_UPDATES = 'making the updates of the last steps'
_SILENCE_S = 60.0  # of the replay, after which the learner ends


class Learner:
  """Runs the training, beside the calls of the other nodes: `service`."""

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
    self._spec = config.make_spec()
    table_specs = training_lib.tables(config)
    batch_spec = config.builder.batch_spec()
    self._packing = packing_lib.Packing(
      self._spec, table_specs, batch_spec.discount
    )
    self._priorities = tables.Priorities(
      replay, table_specs, batch_spec.batch_size
    )
    self._training: training_lib.Training | None = None
    self._inserted: dict[str, int] = {}
    self._passed_steps = 0  # that were taken, and are in no table
    self._longest = 0  # steps of an episode
    self._steps = 0  # in the episodes of `_inserted`, those included
    self._starting = 'it starts'
    self._is_filled = False  # whether the tables may be sampled
    self._failure: Exception | None = None  # of an insert
    self._inserting = threading.Lock()
    self._counting = threading.Lock()  # of `_inserted` and `_steps`
    self._over = ''  # why the run is over
    self._ending = threading.Lock()
    self._catch_up_until = 0.0  # to when updates may follow the last step
    self._callers: set[str] = set()  # nodes that ask whether it is over
    self._told: set[str] = set()  # that it is

  # The calls of the other nodes.

  def differences(self, described: Mapping[str, Any]) -> list[str]:
    """Returns in what a node's run differs from this one, a line each."""
    own = run_folder.what_acts(self._config, self._spec)
    return run_folder.differences(described, own, 'at the learner')

  def get_variables(self, after: int) -> core.Variables | None:
    """Returns newer parameters; None if none come in a moment."""
    return self._training.get_variables(after) if self._training else None

  def inserted_episodes(self, actor: str) -> int:
    """Returns the number of the next episode that is wanted of an actor."""
    return self._inserted.get(actor, 0)

  def insert_episode(
    self, actor: str, index: int, episode: types.Episode
  ) -> int:
    """Inserts the episode with number `index` if it is the one that is wanted.

    Each is inserted once, however often it is sent. A learner that was started
    anew counts from 0 and gets all of them.

    Returns:
      The number of the next one that is wanted.

    Raises:
      ValueError: the episode does not fit the environment's spec.
      ConnectionError: an insert has failed, which ends the run.
    """
    with self._inserting:
      if self._failure is not None:  # sent again and again it would fail so
        raise self._failure
      inserted = self._inserted.get(actor, 0)
      if index != inserted:
        return inserted
      adders.check(episode, self._spec)
      destinations = training_lib.destinations(self._config, episode)
      try:
        self._insert(episode, destinations)
      except Exception as error:
        # How much of it the tables hold is unknown: the run's own thread ends.
        self._failure = error
        raise
      self._count(actor, inserted + 1, episode.length)
      self._longest = max(self._longest, episode.length)
      return inserted + 1

  def pass_over(self, actor: str, begin: int, end: int, steps: int) -> int:
    """Wants no episodes with numbers from `begin` up to `end` any more.

    Args:
      actor: whose they are.
      begin: the number that is wanted; else nothing changes.
      end: that is wanted then.
      steps: of those that are too old for the tables. They were taken, and are
        owed updates, as much as others.

    Returns:
      The number of the next one that is wanted.
    """
    with self._inserting:
      if begin == self._inserted.get(actor, 0):
        self._count(actor, end, steps)
        self._passed_steps += steps
      return self._inserted.get(actor, 0)

  def progress(self, caller: str) -> service.Progress:
    """Returns how the learner stands, for the node with the name `caller`."""
    self._callers.add(caller)
    if over := self._over:
      self._told.add(caller)
    training = self._training
    if training is None:
      return service.Progress(over, self._starting)
    # Not while `_inserting`, which may take long.
    with self._counting:
      wanted, steps = self._inserted.get(caller, 0), self._steps
    overdue = training.overdue(steps) if self._is_filled else None
    return service.Progress(over, '', overdue, wanted, training.learner_steps)

  def evaluated(self, found: Mapping[str, float]) -> None:
    """Takes a sweep of the evaluator, see `evaluation.summarize`."""
    self._end(evaluation.goal_reached(self._config, found))

  def _count(self, actor: str, wanted: int, steps: int) -> None:
    """Notes that an actor's episodes before `wanted` are in, `steps` more."""
    with self._counting:
      self._inserted[actor] = wanted
      self._steps += steps

  # The node's own thread.

  def run(self) -> None:
    """Trains until the run is over or is stopped; checkpoints at the end."""
    stop = lp.stop_event()
    status = process.Status(self._config.folder, NAME)
    logger = loggers.make_logger(
      self._config.folder, NAME, self._config.wandb, self._clock.origin
    )
    training = self._make_training(logger, status)
    replay = _Watched(self._replay)
    heartbeat.end_start(self._config.folder, NAME)
    try:
      while not stop.is_set() and self._goes_on(replay.last):
        if self._failure is not None:
          raise self._failure
        pause = self._round(training, replay.states(), status)
        if pause:
          stop.wait(pause)
    finally:
      # Of the last look: the replay may be what has failed.
      training.save(self._env_steps(replay.last))
      training.log(self._env_steps(replay.last), _sizes(replay.last))
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
    self._start('building the networks', status)
    spec = self._spec
    self._insert_recorded(spec)
    iterator = iterators.make_iterator(
      self._replay.server_address,
      config.builder.make_tables(),
      spec,
      config.builder.batch_spec(),
    )
    training = training_lib.Training(
      config, spec, iterator, logger, self._priorities.update
    )
    self._start('compiling', status)
    training.compile()
    # Only now: from here on the others act, and there is something to act with.
    self._training = training
    return training

  def _start(self, what: str, status: process.Status) -> None:
    """Shows, here and to the other nodes, what comes before the first round."""
    self._starting = what
    status.say(what)

  def _round(
    self,
    training: training_lib.Training,
    states: dict[str, tables.TableState],
    status: process.Status,
  ) -> float:
    """Does a round if one is due; returns how long to wait if none is, s."""
    env_steps = self._env_steps(states)
    self._end(training.time_limit.reached())
    limit = training_lib.steps_limit_reached(self._config, env_steps)
    if self._end(limit):
      lead = self._config.num_actors * ratio.lead(self._longest)
      keeps_up = training.overdue(env_steps) <= lead
      seconds = math.inf if keeps_up else _CATCH_UP_S
      self._catch_up_until = time.monotonic() + seconds
    missing = [
      f'{table.name} {states[table.name].size} of {table.min_size}'
      for table in self._config.builder.make_tables()
      if states[table.name].size < table.min_size
    ]
    self._is_filled = not missing
    if missing:
      status.say('waiting for transitions: ' + ', '.join(missing))
      return _POLL_S
    if not training.may_step(env_steps):
      return _IDLE_S
    status.say(_LAST_UPDATES if self._over else '')
    training.step(env_steps, _sizes(states))
    return 0.0

  def _end(self, reason: str) -> bool:
    """Ends the run for the first reason that there is; returns if it is this.

    Args:
      reason: '' for none.
    """
    with self._ending:
      if not reason or self._over:
        return False
      self._over = reason
      return True

  def _goes_on(self, states: dict[str, tables.TableState]) -> bool:
    """Returns whether the run, or the updates for its last steps, go on."""
    if not self._over:
      return True
    config, training = self._config, self._training
    filled = all(
      states[table.name].size >= table.min_size
      for table in config.builder.make_tables()
    )
    return (
      time.monotonic() < self._catch_up_until
      and filled
      and training.may_step(config.max_env_steps)
      and not training.time_limit.reached()
    )

  def _env_steps(self, states: dict[str, tables.TableState]) -> int:
    online = training_lib.online_tables(self._config)[0]
    inserted = states[online.name].inserted
    return inserted + self._passed_steps

  def _insert_recorded(self, spec) -> None:
    for names, episodes in training_lib.recorded(self._config, spec):
      for episode in episodes:
        self._insert(episode, names)
      logging.info('Inserted %d episodes: %s.', len(episodes), ', '.join(names))

  def _insert(self, episode: types.Episode, names: steps.Tables) -> None:
    writing.insert(
      self._replay, self._packing, episode, names, self._priorities.new
    )

  def _say_farewell(self, stop: threading.Event) -> None:
    began = time.monotonic()
    while not stop.is_set():
      waited = time.monotonic() - began
      all_told = waited > _RETURN_S and self._told == self._callers
      if all_told or waited > _FAREWELL_S:
        return
      stop.wait(0.1)


class _Watched:
  """The states of a replay's tables, looked at from time to time.

  A replay that is silent for a while has not failed: a busy machine may have
  stopped it.
  """

  def __init__(self, client: tables.Client):
    self._client = client
    self.last = tables.states(client)
    self._answered = self._looked = time.monotonic()

  def states(self) -> dict[str, tables.TableState]:
    """Returns the newest states that are known.

    Raises:
      ConnectionError: the replay has not answered for `_SILENCE_S`.
    """
    now = time.monotonic()
    if now - self._looked < _POLL_S:
      return self.last
    self._looked = now
    try:
      self.last = tables.states(self._client)
      self._answered = time.monotonic()
    except ConnectionError as error:
      if time.monotonic() - self._answered > _SILENCE_S:
        raise
      logging.warning('%s; asked again.', error)
    return self.last


def _sizes(states: dict[str, tables.TableState]) -> dict[str, int]:
  return {name: state.size for name, state in states.items()}
