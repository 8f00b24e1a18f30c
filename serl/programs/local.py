"""A run in one process: no Reverb, no Launchpad, replay on the JAX device."""

import time

from absl import logging

from serl import environment_loop
from serl import specs
from serl.agents import actors
from serl.demos import log as log_lib
from serl.demos import recording
from serl.programs import config as config_lib
from serl.programs import evaluation
from serl.programs import report
from serl.programs import run_folder
from serl.programs import training as training_lib
from serl.replay import adders
from serl.replay import local as local_replay
from serl.utils import counting
from serl.utils import loggers

_ACTOR = 'actor_0'


class _Published:
  """What an actor in the learner's process takes its parameters from."""

  def __init__(self, training: training_lib.Training):
    self._training = training
    self.update()

  def update(self) -> None:
    """Takes what is published: it is already here."""
    variables = self._training.get_variables()
    self.params = variables.params
    self._metrics = {
      'params_age': variables.age,
      'params_step': variables.learner_steps,
    }

  def metrics(self) -> dict[str, float]:
    """Returns how old the parameters were when they were taken."""
    return self._metrics


def run_local(config: config_lib.RunConfig) -> report.Summary:
  """Trains in this process, an episode and then the rounds it is due.

  The agent, the environment, the run folder and what resuming means are those
  of the distributed program.

  Returns:
    What came of it.
  """
  environment = config.make_environment(config.seed)
  spec = specs.make_environment_spec(environment)
  resumed = run_folder.claim(config, spec)
  logging.info('%s %s.', 'Resuming' if resumed else 'Starting', config.folder)
  started = time.monotonic()
  replay = local_replay.LocalReplay(
    config.builder.make_tables(), spec, config.builder.batch_spec(), config.seed
  )
  online = [t.name for t in training_lib.table_of(config, 'online')]
  demos = [t.name for t in training_lib.table_of(config, 'demonstrations')]
  if demos:
    for episode in recording.load(config.demonstrations, spec):
      replay.insert(episode, demos)
  log = log_lib.EpisodeLog(run_folder.episodes(config.folder, _ACTOR), spec)
  for episode in log.episodes():
    replay.insert(episode, online)
  learner_logger = loggers.make_logger(config.folder, 'learner', config.wandb)
  actor_logger = loggers.make_logger(config.folder, _ACTOR, config.wandb)
  evaluator_logger = loggers.make_logger(
    config.folder, 'evaluator', config.wandb
  )
  training = training_lib.Training(config, spec, iter(replay), learner_logger)
  networks = config.builder.make_networks(spec)
  adder = adders.EpisodeAdder(
    [log.append, lambda episode: replay.insert(episode, online)]
  )
  policy_actor = actors.FeedForwardActor(
    config.builder.make_policy(networks),
    training_lib.actor_key(config, 0),
    _Published(training),
    adder,
  )
  random_actor = actors.RandomActor(spec.actions, config.seed, adder)
  counter = counting.Counter()
  counter.increment(env_steps=log.steps, episodes=len(log))
  evaluator = None
  if config.evaluate:
    evaluator = evaluation.Evaluation(
      config.make_environment(config.seed + 10_000),
      config.builder.make_policy(networks, evaluation=True),
    )

  def over() -> str | None:
    if counter.get('env_steps') >= config.max_env_steps:
      return f'the limit of {config.max_env_steps} environment steps'
    elapsed = time.monotonic() - started
    if config.time_limit_s is not None and elapsed >= config.time_limit_s:
      return f'the limit of {config.time_limit_s:g} s'
    return None

  evaluated = time.monotonic()
  reason = None
  try:
    while reason is None:
      exploring = counter.get('env_steps') < config.random_steps
      environment_loop.EnvironmentLoop(
        environment,
        random_actor if exploring else policy_actor,
        counter,
        actor_logger,
      ).run_episode()
      steps = int(counter.get('env_steps'))
      sizes = {name: replay.size(name) for name in (*online, *demos)}
      while replay.can_sample() and training.may_step(steps):
        training.step(steps, sizes)
      reason = over()
      now = time.monotonic()
      due = now - evaluated >= config.evaluation_period_s or reason
      if evaluator is not None and due:
        evaluated = now
        variables = training.get_variables()
        found = evaluator.sweep(variables.params, config.evaluation_episodes)
        evaluator_logger.write(
          {
            'learner_steps': variables.learner_steps,
            'env_steps': steps,
            **found,
          }
        )
        logging.info(
          '%d steps, %d rounds: %d of %d succeeded, return %.1f.',
          steps,
          training.learner_steps,
          found['successes'],
          found['episodes'],
          found['episode_return'],
        )
        if (
          config.stop_at_successes is not None
          and found['successes'] >= config.stop_at_successes
        ):
          reason = (
            f'{found["successes"]:.0f} of {found["episodes"]} '
            'evaluation episodes succeeded'
          )
  except KeyboardInterrupt:
    reason = 'interrupted'
  finally:
    environment.close()
  training.save(int(counter.get('env_steps')))
  training.log(int(counter.get('env_steps')), sizes)
  for logger in (learner_logger, actor_logger, evaluator_logger):
    logger.close()
  return report.make_report(config, spec, reason)
