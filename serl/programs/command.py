"""The command line that the examples share: where, how long, which role."""

import logging as python_logging
import sys
from typing import Any

from absl import flags

from serl import programs

_RUN = flags.DEFINE_string(
  'run', None, 'Folder of the run; one that holds this run already is resumed.'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of networks and environments.')
_MAX_ENV_STEPS = flags.DEFINE_integer(
  'max-env-steps', None, 'Environment steps after which the run ends.'
)
_MINUTES = flags.DEFINE_float(
  'minutes', None, 'Minutes after which this launch ends.'
)
_UPDATES_PER_STEP = flags.DEFINE_float(
  'updates-per-step', None, 'Critic updates for each environment step.'
)
_STEPS_PER_SECOND = flags.DEFINE_float(
  'steps-per-second', None, "Pace of the simulated robot; 0 is the machine's."
)
_REPLAY = flags.DEFINE_enum(
  'replay', None, ['process', 'learner'], 'Which process holds the replay.'
)
_LOCAL = flags.DEFINE_bool(
  'local', False, 'Run in one process, without Launchpad and Reverb.'
)
_RESUME = flags.DEFINE_bool(
  'resume', False, 'Refuse to start: only go on with a run that is there.'
)
_ROLE = flags.DEFINE_enum(
  'role',
  'all',
  ['all', 'learner', 'actor'],
  "Which part runs here: all of it, or one machine's of two.",
)
_PORT_BASE = flags.DEFINE_integer(
  'port-base', None, 'Port of the replay; the learner takes the next one.'
)
_LEARNER_HOST = flags.DEFINE_string(
  'learner-host', 'localhost', 'Where the actor finds the learner.'
)
_WANDB = flags.DEFINE_bool('wandb', False, 'Log to Weights & Biases too.')


def run_dir(default: str) -> str:
  """Returns the folder of the run."""
  return _RUN.value or default


def is_actor() -> bool:
  """Returns whether only the actor runs here, which needs no demonstrations."""
  return _ROLE.value == 'actor'


def fields(**defaults: Any) -> dict[str, Any]:
  """Returns the fields of `RunConfig` that the flags set, over `defaults`."""
  given = {
    'max_env_steps': _MAX_ENV_STEPS.value,
    'time_limit_s': 60 * _MINUTES.value if _MINUTES.value else None,
    'updates_per_step': _UPDATES_PER_STEP.value,
    'steps_per_second': _STEPS_PER_SECOND.value,
    'replay': _REPLAY.value,
  }
  given = {name: value for name, value in given.items() if value is not None}
  found = {**defaults, **given, 'seed': _SEED.value, 'wandb': _WANDB.value}
  found['steps_per_second'] = found.get('steps_per_second') or None
  return found


def run(config: programs.RunConfig) -> int:
  """Runs as the flags say, prints what came of it and returns the exit code.

  0 when the run is over, 130 when the user stopped it, 1 when it failed: then
  with the reason alone where it is the user's to mend.
  """
  # It tells of every accelerator that is not there.
  python_logging.getLogger('jax').setLevel(python_logging.WARNING)
  if _RESUME.value and not (config.folder / 'config.json').exists():
    return _fail(f'--resume: {config.folder} holds no run to go on with.')
  try:
    if _LOCAL.value:
      summary = programs.run_local(config)
    else:
      summary = programs.launch(
        config,
        role=_ROLE.value,
        port_base=_PORT_BASE.value,
        learner_host=_LEARNER_HOST.value,
      )
  except (ValueError, OSError, programs.NodeDiedError) as error:
    return _fail(str(error))
  except programs.Interrupted as error:
    sys.stdout.write(f'{error}\n')
    return 130
  if summary is not None:
    sys.stdout.write(f'{summary}\n')
  return 0


def _fail(reason: str) -> int:
  sys.stderr.write(f'{reason}\n')
  return 1
