"""The evaluator's node: sweeps of episodes with the newest parameters."""

import threading
import time

from absl import logging
import launchpad as lp

from serl import specs
from serl.agents import variables
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs.distributed import process
from serl.utils import loggers

NAME = 'evaluator'
_END_S = 10.0
_SEED_OFFSET = 10_000  # apart from the actors' seeds


class Evaluator:
  """Evaluates, and tells the learner what it saw."""

  def __init__(
    self, config: config_lib.RunConfig, learner, clock: process.Clock
  ):
    """Initialises the node.

    Args:
      config: of the run.
      learner: the learner's node.
      clock: of the launch.
    """
    self._config = config
    self._learner = learner
    self._clock = clock

  def run(self) -> None:
    """Sweeps until it is stopped, never twice with the same parameters."""
    config = self._config
    stop = lp.stop_event()
    status = process.Status(config.folder, NAME)
    environment = config.make_environment(config.seed + _SEED_OFFSET)
    spec = specs.make_environment_spec(environment)
    logger = loggers.make_logger(
      config.folder, NAME, config.wandb, self._clock.origin
    )
    networks = config.builder.make_networks(spec)
    sweeps = evaluation.Evaluation(
      environment, config.builder.make_policy(networks, evaluation=True)
    )
    client = variables.VariableClient(self._learner, config.pull_every_s)
    best = evaluation.BestPolicy(config.folder)
    evaluated_step, began = 0, -float('inf')
    try:
      while not stop.is_set():
        client.update()
        step = client.learner_steps
        due = time.monotonic() - began >= config.evaluation_period_s
        if step is None or step == evaluated_step or not due:
          status.say('' if step else 'waiting for a trained policy')
          stop.wait(0.1)
          continue
        status.say('')
        began, evaluated_step = time.monotonic(), step
        behind = {'learner_steps': step, 'env_steps': client.env_steps}
        found = sweeps.sweep(
          client.params, config.evaluation_episodes, stop.is_set
        )
        if found is not None:
          logger.write({**behind, **found})
          best.offer(client.params, step, found)
          logging.info('Learner step %d: %s', step, found)
          self._tell(found, stop)
    finally:
      environment.close()
      client.close()
      logger.close()

  def _tell(self, found: dict[str, float], stop: threading.Event) -> None:
    try:
      self._learner.evaluated(int(found['successes']), found['episodes'])
    # Courier raises its own errors. At the end the learner is the first to go,
    # and the word of it comes when its process has ended.
    except Exception:
      if not stop.wait(_END_S):
        raise
