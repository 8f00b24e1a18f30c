"""The command line of the tasks on a Franka arm, the real one or its twin.

What stands beside `command`'s and `reward`'s: the task, the arm, who acts and
what the policy sees.
"""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import os
from typing import Annotated, Any, NamedTuple

from absl import flags
import dm_env

from serl import configs
from serl import core
from serl import programs
from serl import specs
from serl.agents import bc
from serl.agents import builder as builder_lib
from serl.agents import drq
from serl.agents import rlpd
from serl.agents import sac
from serl.environments.franka import assembly
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import tasks
from serl.environments.sim import insertion
from serl.environments.wrappers import alternating
from serl.programs import command
from serl.programs import reward
from serl.teleop import corrector
from serl.teleop import insertion as teleop_insertion

# Steps at random, and steps from which on the learner learns: demonstrations
# tell it more than an untrained policy would find.
_FIRST_STEPS = 200
_Scene = Annotated[
  Any,
  configs.Rule(
    lambda scene: hasattr(scene, 'task'), 'with the field task, a dataclass'
  ),
]


def define_flags(*names: str) -> None:
  """Defines the flags, those of `command` included.

  Args:
    *names: of the tasks that are meant if none are given.
  """
  command.define_flags(demonstrations=True)
  reward.define_flags()
  command.show_in_help(
    flags.DEFINE_list(
      'task',
      list(names),
      'By its name, or the FILE.py that new_task has written.',
    ),
    flags.DEFINE_enum(
      'agent', 'rlpd', ['rlpd', 'bc'], 'Or behaviour cloning, as a baseline.'
    ),
    flags.DEFINE_bool('twin', False, 'Simulate the arm and its cameras.'),
    flags.DEFINE_bool(
      'images', False, 'See by the cameras, else by the state alone.'
    ),
    flags.DEFINE_integer('image-size', None, "Pixels; the task's if unset."),
    flags.DEFINE_bool('http', True, 'Reach the twin by its robot server.'),
    flags.DEFINE_string('token-file', None, "With the robot server's token."),
    flags.DEFINE_integer(
      'correct-after',
      None,
      'On the twin: a script brings episodes to their end that the policy has '
      'not ended after so many steps, as a person would.',
      lower_bound=0,
    ),
    flags.DEFINE_float(
      'cloning',
      None,
      'How much the policy stays near the demonstrations while it learns; 0 '
      "for not at all, the task's if unset.",
      lower_bound=0.0,
    ),
    flags.DEFINE_enum(
      'preset', 'cpu', ['cpu', 'serl'], "For a few cores, or SERL's own recipe."
    ),
  )


class Attempt(NamedTuple):
  """Something that a classifier of success is shown."""

  expert: Mapping[str, Any]  # its keywords
  scene: Mapping[str, Any] = {}  # fields of its config that differ


@dataclasses.dataclass(frozen=True)
class Twin:
  """How a task is simulated, and who knows it.

  Fields:
    make: seed, config and the keywords of `twin_environment.make` ->
      environment.
    scene: the config; a dataclass whose `task` is the task's.
    expert: takes the keywords noise and environment.
    noise: with which it demonstrates.
    attempts: that a classifier learns from, those that fail in various ways
      among them.
  """

  make: Callable[..., dm_env.Environment]
  scene: _Scene
  expert: Callable[..., core.Actor]
  noise: configs.NonNegative = 0.01
  attempts: Sequence[Attempt] = ()

  __post_init__ = configs.check

  def show(self, task: config_lib.Config) -> reward.Attempts:
    """Returns what makes the attempts at `task`, from a seed each."""

    def make(attempt: Attempt, seed: int):
      scene = dataclasses.replace(self.scene, task=task, **attempt.scene)
      made = self.make(seed, scene, rewards=False, state=True)
      return made, self.expert(environment=made, seed=seed, **attempt.expert)

    return [functools.partial(make, attempt) for attempt in self.attempts]


def is_twin() -> bool:
  """Returns whether the arm is simulated."""
  return _value('twin')


def sees_images() -> bool:
  """Returns whether the policy sees images."""
  return _value('images')


def agent(**changes: Any) -> builder_lib.Builder:
  """Returns SAC, or DrQ where the policy sees images, as the flags say.

  Args:
    **changes: fields of `sac.SACConfig` that differ from the preset's.
  """
  changes = {'min_replay_size': _FIRST_STEPS, **changes}
  if _value('cloning') is not None:
    changes['cloning'] = _value('cloning')
  if sees_images():
    config = getattr(drq, _value('preset'))()
    changed = dataclasses.replace(config.sac, **changes)
    return drq.DrQBuilder(dataclasses.replace(config, sac=changed))
  config = getattr(sac, _value('preset'))()
  return sac.SACBuilder(dataclasses.replace(config, **changes))


def chosen(
  builder: builder_lib.Builder, config: config_lib.Config
) -> builder_lib.Builder:
  """Returns the agent that --agent names.

  Args:
    builder: what learns as it acts.
    config: of the task.
  """
  if _value('agent') != 'bc':
    return builder
  size = 7 if config.uses_gripper else 6
  return bc.BCBuilder(bc.cpu(size, sees_images()))


def run(
  default_run_dir: str,
  twin: Twin,
  changes: Mapping[str, Any] | None = None,
  **defaults: Any,
) -> int:
  """Runs one task with the agent that the flags name; returns the exit code.

  Args:
    default_run_dir: without --run.
    twin: how the task is simulated.
    changes: see `agent`.
    **defaults: of `command.fields`.
  """
  (config,) = load()
  changes = dict(changes or {})
  if not config.gripper_penalty:
    # Success is rewarded by 1 and ends an episode; nothing else counts.
    changes = {'return_bounds': (0.0, 1.0), **changes}
  return command.run(
    programs.RunConfig(
      builder=chosen(rlpd.RLPDBuilder(agent(**changes)), config),
      **fields(command.run_dir(default_run_dir), config, twin, **defaults),
    )
  )


def run_insertion(default_run_dir: str, scene: insertion.Config) -> int:
  """Runs an insertion; returns the exit code.

  Its policy ends with less entropy than SAC's, -12 nats: with tenths of a
  millimetre of play, what trembles more than they does not get in.

  Args:
    default_run_dir: without --run.
    scene: on the twin.
  """
  twin = Twin(insertion.make, scene, teleop_insertion.InsertionExpert)
  return run(default_run_dir, twin, {'target_entropy': -12.0})


def load() -> list[config_lib.Config]:
  """Returns the tasks' configs, with the cameras that the run needs.

  Raises:
    ValueError: there is no such task.
  """
  configs = []
  for name in _value('task'):
    config = tasks.load(name)
    if _value('image-size') is not None:
      config = dataclasses.replace(config, image_size=_value('image-size'))
    if config.threshold is not None and not sees_images():
      config = dataclasses.replace(config, cameras=())
    configs.append(config)
  return configs


def fields(
  run_dir: str | os.PathLike,
  config: config_lib.Config,
  twin: Twin,
  part: str = '',
  **defaults: Any,
) -> dict[str, Any]:
  """Returns the fields of `RunConfig` that the flags set.

  What a person would record on the real arm, demonstrations and the examples of
  a reward classifier, a script records on the twin where it is missing.

  Args:
    run_dir: of the run.
    config: of the task.
    twin: how it is simulated.
    part: the subfolder of --demos and of --classifier, where several tasks
      share them.
    **defaults: of `command.fields`.

  Raises:
    ValueError: the real arm's task has neither a threshold nor a classifier, or
      a script is to correct there, or beside a person.
  """
  attempts = twin.show(config) if is_twin() else None
  source = reward.find(run_dir, config, attempts, part)
  if is_twin():
    make_environment = functools.partial(
      _make_twin,
      twin.make,
      config=dataclasses.replace(twin.scene, task=config),
      http=_value('http'),
      images=sees_images(),
      classifier=source,
    )
  else:
    make_environment = functools.partial(
      _make_real, config, _value('token-file'), source
    )
  patience = _value('correct-after')
  if patience is not None:
    if not is_twin():
      raise ValueError(
        f'correct-after={patience}; expected it with --twin alone: no script '
        'knows what is around the real arm. A person does: --intervene.'
      )
    if _value('intervene') != 'none':
      raise ValueError(
        f'correct-after={patience} and intervene={_value("intervene")}; '
        'expected one of them: who corrects, a script or a person.'
      )
    defaults['make_intervention'] = functools.partial(
      corrector.correct, make_expert=twin.expert, patience=patience
    )
  return {
    'run_dir': run_dir,
    'make_environment': make_environment,
    # One process has the arm: the others are told what it observes.
    'environment_spec': None if is_twin() else make_spec(config),
    'demonstrations': command.demonstrations(
      run_dir,
      make_environment,
      twin.expert if is_twin() else None,
      twin.noise,
      part,
      rewarded=_value('agent') != 'bc',
    ),
    'episode_steps': config.episode_steps,
    'random_steps': _FIRST_STEPS,
    'evaluate': is_twin(),
    # The real arm keeps its own pace.
    **command.fields(
      **{
        'steps_per_second': 20 if is_twin() else 0,
        # An arm moves its joints in it, and waits for cameras to come back.
        'reset_limit_s': 300.0,
        # A sweep takes as long as many an update.
        'evaluation_period_s': 60.0,
        'stop_at_successes': 20,
        'updates_per_step': 4.0,
        **defaults,
      }
    ),
  }


def alternate(
  runs: Mapping[str, programs.RunConfig],
  make_both: Callable[..., Mapping[str, dm_env.Environment]],
) -> Callable[[int], dm_env.Environment]:
  """Returns what makes the environment of runs whose tasks take turns.

  Args:
    runs: with the `fields` of this module, by the names of the tasks.
    make_both: seed, the tasks' scenes by their names and the keywords of
      `twin_environment.make` -> environments of one twin.
  """
  parts = {name: run.make_environment for name, run in runs.items()}
  if is_twin():
    return functools.partial(_alternate_twin, make_both, parts)
  return functools.partial(_alternate_real, parts)


def _make_twin(
  make_task: Callable[..., dm_env.Environment],
  seed: int,
  config: Any,
  http: bool,
  images: bool,
  classifier: reward.Source | None,
) -> dm_env.Environment:
  """Returns the task on the twin, as the policy sees it."""
  environment = make_task(
    seed,
    config,
    http=http,
    rewards=classifier is None,
    state=not images,
  )
  return reward.wrap(environment, config.task, classifier, images)


def _alternate_twin(
  make_both: Callable[..., Mapping[str, dm_env.Environment]],
  parts: Mapping[str, functools.partial],
  seed: int,
) -> dm_env.Environment:
  """Returns the tasks of `_make_twin` on one twin, in turns."""
  keywords = {name: part.keywords for name, part in parts.items()}
  one = next(iter(keywords.values()))
  made = make_both(
    seed,
    {name: k['config'] for name, k in keywords.items()},
    http=one['http'],
    rewards=one['classifier'] is None,
    state=not one['images'],
  )
  return alternating.Alternating(
    {
      name: reward.wrap(
        made[name], k['config'].task, k['classifier'], k['images']
      )
      for name, k in keywords.items()
    }
  )


def _make_real(
  config: config_lib.Config,
  token_file: str | None,
  classifier: reward.Source | None,
  seed: int,
) -> dm_env.Environment:
  """Returns the task on the real arm, as the policy sees it."""
  environment = assembly.make(config, client.read_token(token_file), seed)
  with contextlib.ExitStack() as stack:
    # The arm and its cameras are let go of where the classifier is not there.
    stack.callback(environment.close)
    wrapped = reward.wrap(environment, config, classifier, images=True)
    stack.pop_all()
  return wrapped


def _alternate_real(
  parts: Mapping[str, functools.partial], seed: int
) -> dm_env.Environment:
  """Returns the tasks of `_make_real` on one arm, in turns."""
  configs = {name: part.args[0] for name, part in parts.items()}
  _, token_file, _ = next(iter(parts.values())).args
  token = client.read_token(token_file)
  made = assembly.make_several(configs, token, seed)
  with contextlib.ExitStack() as stack:
    for environment in made.values():
      stack.callback(environment.close)
    alternates = alternating.Alternating(
      {
        name: reward.wrap(made[name], configs[name], part.args[2], images=True)
        for name, part in parts.items()
      }
    )
    stack.pop_all()
  return alternates


def make_spec(config: config_lib.Config) -> specs.EnvironmentSpec:
  """Returns the spec of the task on the real arm, as the policy sees it."""
  spec = assembly.make_spec(config)
  seen = {
    name: leaf
    for name, leaf in spec.observations.items()
    if name not in config.reward_cameras
  }
  return spec._replace(observations=seen)


def _value(name: str) -> Any:
  return flags.FLAGS[name].value
