"""What rewards a task on an arm where no threshold does: a classifier.

It is found where the flags say or in the run's folder, or trained there on what
is recorded for it.
"""

from collections.abc import Callable, Iterable
import dataclasses
import hashlib
import os
import pathlib

from absl import flags
from absl import logging
import dm_env

from serl import configs
from serl import core
from serl import specs
from serl.agents import classifier
from serl.agents.classifier import report
from serl.agents.classifier import training
from serl.demos import files
from serl.demos import judged
from serl.demos import recording
from serl.environments.franka import config as config_lib
from serl.environments.wrappers import learned_reward
from serl.environments.wrappers import reward_camera
from serl.programs import command

_FILE = 'classifier.safetensors'
_SEEDS = 1000  # more than there are attempts

# Each makes, from a seed, an environment of a task and who does it there or
# fails in a way of their own. An episode goes on after its success: that is
# seen more than once.
Attempts = Iterable[Callable[[int], tuple[dm_env.Environment, core.Actor]]]


@dataclasses.dataclass(frozen=True)
class Source:
  """Where a classifier is read from.

  Fields:
    path: of its file.
    weights: the file of its frozen encoder's weights, for one that has them.
    digest: of what the classifier's file holds, so that a run is not resumed
      with another one; empty where the file is on another machine.
  """

  path: configs.Path
  weights: configs.Path | None = None
  digest: str = ''

  __post_init__ = configs.check


def define_flags(records: bool = True) -> None:
  """Defines the flags, for `--help` as the calling program's own.

  Args:
    records: whether a script records and trains a classifier for a task that
      has no threshold, if none is given; else the task's own reward stays.
  """
  command.show_in_help(
    flags.DEFINE_string(
      'classifier',
      None,
      'Folder of the reward classifier of a task without a threshold; without '
      'it a script records on the twin what it takes to train one.'
      if records
      else "Folder of train_reward_classifier.py's, whose word is the only "
      'reward.',
    ),
    flags.DEFINE_string(
      'classifier-weights',
      None,
      "File of SERL's ResNet-10, for a classifier that looks through it.",
    ),
  )
  if not records:
    return
  command.show_in_help(
    flags.DEFINE_integer(
      'classifier-episodes',
      20,
      'Of each kind, that the script records for the classifier.',
      lower_bound=2,
    ),
    flags.DEFINE_integer(
      'classifier-steps',
      None,
      'Updates that train the classifier here; 500 if unset.',
      lower_bound=1,
    ),
    flags.DEFINE_bool(
      'accept-poor-classifier',
      False,
      'Whether to go on with a classifier that is trained here and is little '
      'better than a guess on held-out episodes.',
    ),
  )


def given(part: str = '') -> Source | None:
  """Returns where the flags say that the classifier is, which may be nowhere.

  Args:
    part: the subfolder of --classifier, where several tasks share it.

  Raises:
    ValueError: there are weights for it alone, and none that is made here.
  """
  folder = flags.FLAGS['classifier'].value
  weights = flags.FLAGS['classifier-weights'].value
  if folder is None:
    if weights is not None and 'classifier-episodes' not in flags.FLAGS:
      raise ValueError(
        f'--classifier-weights={weights} is for a classifier; expected '
        '--classifier=FOLDER beside it.'
      )
    return None
  return source(pathlib.Path(folder) / part, weights)


def find(
  run_dir: str | os.PathLike,
  config: config_lib.Config,
  attempts: Attempts | None,
  part: str = '',
) -> Source | None:
  """Returns where the classifier is; None where a threshold rewards.

  It is trained, if it is missing, on attempts at the task.

  Args:
    run_dir: where it is kept.
    config: of the task.
    attempts: to record; None where nobody but a person could make them.
    part: the subfolder of --classifier, where several tasks share it.

  Raises:
    ValueError: it is missing, and only a person could record what it takes.
  """
  if config.threshold is not None:
    return None
  if (found := given(part)) is not None:
    return found
  folder = pathlib.Path(run_dir).expanduser().resolve() / 'classifier'
  path = folder / _FILE
  weights = flags.FLAGS['classifier-weights'].value
  if path.exists() or not command.learns():
    return source(folder, weights)
  if attempts is None:
    raise ValueError(
      'The task has no threshold: a classifier of images tells success. Record '
      'examples and train one:\n'
      '  python -m serl.tools.record_transitions TASK --robot --out=DATA '
      '--device=spacemouse\n'
      '  python examples/train_reward_classifier.py --data=DATA '
      '--output=FOLDER\n'
      '  ... --classifier=FOLDER'
    )
  _train(folder, config, attempts)
  return source(folder, weights)


def source(folder: str | os.PathLike, weights: str | None = None) -> Source:
  """Returns where the classifier of a folder is, which need not be here.

  Args:
    folder: that `examples/train_reward_classifier.py` wrote, or its file.
    weights: the file of its frozen encoder's weights, for one that has them.
  """
  path = pathlib.Path(folder).expanduser().resolve()
  if path.suffix != pathlib.Path(_FILE).suffix:
    path /= _FILE
  digest = ''
  if path.is_file():
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
  return Source(str(path), weights, digest)


def judge(
  environment: dm_env.Environment, source: Source
) -> dm_env.Environment:
  """Returns an environment that a classifier rewards and ends.

  Raises:
    FileNotFoundError: there is no classifier.
    ClassifierFileError: it looks at other images, or is damaged.
  """
  found = classifier.load(
    source.path, environment.observation_spec(), source.weights
  )
  return learned_reward.LearnedReward(
    environment, found.make_probability(), found.threshold
  )


def judge_demonstrations(
  path: str | os.PathLike,
  folder: pathlib.Path,
  spec: specs.EnvironmentSpec,
  source: Source,
) -> None:
  """Writes demonstrations to `folder`, rewarded and ended by a classifier.

  Raises:
    See `judge` and `demos.judged.write`.
  """
  found = classifier.load(source.path, spec.observations, source.weights)
  classify = found.make_probability()
  judged.write(
    path,
    folder,
    spec,
    lambda seen: classify(seen) > found.threshold,
    source.digest,
  )


def _train(
  folder: pathlib.Path, config: config_lib.Config, attempts: Attempts
) -> None:
  """Records the task done and failed, and learns to tell them apart."""
  logging.info('Recording what a reward classifier learns from.')
  episodes = folder / 'episodes'
  each = flags.FLAGS['classifier-episodes'].value
  # Others than those that an interrupted recording has left, and no two of
  # them wander the same way.
  first = 1 + _SEEDS * len(files.find(episodes))
  with command.watching('recording for a classifier') as guard:
    for number, make in enumerate(attempts, 1):
      environment, actor = make(first + number - 1)
      recording.record(
        lambda seed, made=environment: guard.make(lambda _: made, seed),
        actor,
        number * each,
        episodes,
        keep=lambda metrics: True,
      )
  recipe = classifier.cpu(config.reward_cameras or None)
  steps = flags.FLAGS['classifier-steps'].value or recipe.training_steps
  recipe = dataclasses.replace(
    recipe,
    training_steps=steps,
    # A policy finds the false positives.
    false_positive_rate=0.001,
  )
  trained, told = training.train(recipe, recording.load(episodes))
  for path in report.write(told, folder):
    logging.info('On the classifier: %s', path)
  accept_poor = flags.FLAGS['accept-poor-classifier'].value
  classifier.save(folder / _FILE, trained, accept_poor)


def wrap(
  environment: dm_env.Environment,
  config: config_lib.Config,
  source: Source | None,
  images: bool,
) -> dm_env.Environment:
  """Returns an environment that a classifier rewards, without its cameras.

  Args:
    environment: observes all cameras of the task.
    config: of the task.
    source: of the classifier, see `find`; None leaves the reward as it is.
    images: whether the policy sees the cameras that are not for the reward.
  """
  if source is not None:
    environment = judge(environment, source)
  hidden = config.reward_cameras
  if not images:
    hidden = [camera.name for camera in config.cameras]
  return reward_camera.RewardCamera(environment, hidden)
