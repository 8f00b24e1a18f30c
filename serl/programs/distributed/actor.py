"""The actor's node: steps the environment, logs and sends its episodes."""

import functools
import threading
import time

import launchpad as lp

from serl import environment_loop
from serl import specs
from serl.agents import variables
from serl.demos import log as log_lib
from serl.environments.wrappers import pacing
from serl.programs import acting
from serl.programs import config as config_lib
from serl.programs import run_folder
from serl.programs import training as training_lib
from serl.programs.distributed import process
from serl.programs.distributed import shipping
from serl.replay import packing as packing_lib
from serl.replay import tables
from serl.utils import counting
from serl.utils import loggers

_CLOSE_S = 3.0  # for the last episode to reach the replay


def name(index: int) -> str:
  """Returns the name of the actor node `index`."""
  return f'actor_{index}'


class Actor:
  """Acts, episode after episode, while the learner can be reached."""

  def __init__(
    self,
    config: config_lib.RunConfig,
    index: int,
    replay: tables.Client,
    learner,
    learner_address: str,
    clock: process.Clock,
  ):
    """Initialises the node.

    Args:
      config: of the run.
      index: which of the actors this is.
      replay: the server of the tables.
      learner: the learner's node.
      learner_address: where it is, to say whom the actor waits for.
      clock: of the launch.
    """
    self._config = config
    self._index = index
    self._name = name(index)
    self._replay = replay
    self._learner = learner
    self._learner_address = learner_address
    self._clock = clock

  def run(self) -> None:
    """Runs episodes until the run is over or is stopped."""
    config = self._config
    stop = lp.stop_event()
    status = process.Status(config.folder, self._name)
    environment = config.make_environment(config.seed + 1 + self._index)
    if config.steps_per_second is not None:
      environment = pacing.RealTime(environment, 1 / config.steps_per_second)
    spec = specs.make_environment_spec(environment)
    log = log_lib.EpisodeLog(
      run_folder.episodes(config.folder, self._name), spec
    )
    shipper = shipping.Shipper(
      log,
      shipping.make_insert(
        self._replay,
        packing_lib.Packing(spec),
        functools.partial(training_lib.destinations, config),
      ),
      self._learner,
      self._name,
    )
    shipper.start()
    client = variables.VariableClient(self._learner, config.pull_every_s)
    logger = loggers.make_logger(
      config.folder, self._name, config.wandb, self._clock.origin
    )
    counter = counting.Counter()
    counter.increment(env_steps=log.steps, episodes=len(log))
    actor = acting.make_actor(
      config,
      environment,
      client,
      [log.append, lambda _: shipper.notify()],
      counter,
      self._index,
      config.num_actors,
    )
    loop = environment_loop.EnvironmentLoop(environment, actor, counter, logger)
    try:
      while not stop.is_set() and not self._over(shipper):
        if not self._ready(shipper, client, status, stop):
          continue
        loop.run_episode(stop.is_set)
    finally:
      acting.close(actor)
      environment.close()
      shipper.close(_CLOSE_S)
      client.close()
      logger.close()

  def _ready(
    self,
    shipper: shipping.Shipper,
    client: variables.VariableClient,
    status: process.Status,
    stop: threading.Event,
  ) -> bool:
    """Returns whether an episode may start; says what it waits for if not."""
    if shipper.lost_since is not None or client.params is None:
      status.say(f'waiting for the learner at {self._learner_address}')
      client.update()
      stop.wait(0.1)
      return False
    status.say('')
    return True

  def _over(self, shipper: shipping.Shipper) -> bool:
    """Returns whether the learner says that the run is over."""
    if shipper.lost_since is not None:
      return False
    try:
      return bool(self._learner.over(self._name))
    # Courier raises its own errors; the shipper says that contact is lost.
    except Exception:  # noqa: BLE001
      time.sleep(0.1)
      return False
