"""What acts in a run, wherever it runs."""

from collections.abc import Callable, Collection, Sequence
import contextlib
import time

import dm_env

from serl import core
from serl import environment_loop
from serl import specs
from serl.agents import actors
from serl.environments.wrappers import live_view
from serl.programs import config as config_lib
from serl.programs import training
from serl.replay import adders
from serl.utils import addresses
from serl.utils import counting


def shown(
  environment: dm_env.Environment, config: config_lib.RunConfig, index: int = 0
) -> dm_env.Environment:
  """Returns the environment that an actor acts in, shown on a page if asked.

  Args:
    environment: to act in; closed where it cannot be shown.
    config: of the run.
    index: which of the actors it is for.

  Raises:
    ValueError: there are no images to show.
    OSError: the port is taken.
  """
  if config.live_port is None:
    return environment
  with contextlib.ExitStack() as stack:
    stack.callback(environment.close)
    check_page(config, index)
    view = live_view.LiveView(environment, config.live_port + index)
    stack.pop_all()
  return view


def next_task(environment: dm_env.Environment, tasks: Collection[str]) -> str:
  """Returns the task of the next episode.

  Raises:
    ValueError: there are several, and the environment does not alternate
      between them.
  """
  if len(tasks) == 1:
    return next(iter(tasks))
  if not isinstance(environment, core.HasTurns):
    raise ValueError(
      f'The runs are of the tasks {list(tasks)}, but the environment that '
      'AlternatingRuns.make_environment makes has no next_task; expected the '
      'wrapper Alternating.'
    )
  return environment.next_task


class FaultDisplay:
  """Shows a robot's faults as a node's status, and on its page if it has one.

  It is the `on_fault` of an `EnvironmentLoop`.
  """

  def __init__(
    self, environment: dm_env.Environment, say: Callable[[str, float], None]
  ):
    """Initialises the display.

    Args:
      environment: of `shown`.
      say: takes a text, '' for none, and the unix time of the first fault.
    """
    self._environment = environment
    self._say = say

  def __call__(self, faults: environment_loop.Faults | None) -> None:
    text = ' '.join(str(faults).split()) if faults else ''
    since = faults.since if faults else time.time()
    self._say(text, since)
    clock = time.strftime('%H:%M:%S', time.localtime(since))
    if isinstance(self._environment, core.HasNote):
      self._environment.note(f'{text}\nsince {clock}' if text else '')


def check_page(config: config_lib.RunConfig, index: int) -> None:
  """Checks that an actor's page can be served.

  Args:
    config: of the run.
    index: which of the actors it is for.

  Raises:
    OSError: the port is taken.
  """
  if config.live_port is not None:
    addresses.check_free(
      config.live_port + index, live_view.HOST, 'live_port (--live-port)'
    )


def make_actor(
  config: config_lib.RunConfig,
  environment: dm_env.Environment,
  variable_client,
  sinks: Sequence[adders.Sink],
  counter: counting.Counter,
  index: int = 0,
  num_actors: int = 1,
) -> core.Actor:
  """Returns what explores at random first, and then acts by the policy.

  Where the run has a person intervene, they may overrule both.

  Args:
    config: of the run.
    environment: that it acts in.
    variable_client: where the policy's parameters come from, see
      `actors.FeedForwardActor`.
    sinks: of the episodes, see `adders.EpisodeAdder`.
    counter: of this actor's steps and episodes, over all launches.
    index: which of the actors this is.
    num_actors: that the random steps are divided between.

  Raises:
    DeviceError: the person's device is not there.
  """
  spec = specs.make_environment_spec(environment)
  adder = adders.EpisodeAdder(
    sinks,
    # The adder is within the actor that it asks who acted.
    [*adders.step_extras_of(environment), lambda: _told_by(actor)],
  )
  networks = config.builder.make_networks(spec)
  policy = actors.FeedForwardActor(
    config.builder.make_policy(networks),
    training.actor_key(config, index),
    variable_client,
    adder,
    spec.actions,
  )
  # Another seed after a resume, or it would explore what is in the log.
  seed = config.seed + 1000 * index + int(counter.get('episodes'))
  explorer = actors.RandomActor(spec.actions, seed, adder)
  random_steps = config.random_steps / num_actors
  actor = actors.SwitchingActor(
    lambda: explorer if counter.get('env_steps') < random_steps else policy
  )
  if config.make_intervention is not None:
    actor = config.make_intervention(actor, environment)
  return actor


def close(actor: core.Actor) -> None:
  """Has an actor let go of the person's device, where it has one."""
  if isinstance(actor, core.HasClose):
    actor.close()


def _told_by(actor: core.Actor) -> dict:
  return actor.step_extras() if isinstance(actor, core.HasStepExtras) else {}
