"""The command line that the examples share: where, how long, which role."""

from collections.abc import Callable, Mapping
import contextlib
import functools
import logging as python_logging
import pathlib
import sys
from typing import Any
import warnings

from absl import flags
import dm_env

from serl import core
from serl import programs
from serl import specs
from serl.demos import datasets
from serl.demos import files
from serl.demos import recording
from serl.programs import refusals
from serl.programs import report
from serl.programs import run_folder
from serl.programs import watchdog
from serl.teleop import opening
from serl.utils import environment_variables

_NO_SUCCESS = 3  # the exit code of a run that ended without what was asked for


def define_flags(demonstrations: bool = False) -> None:
  """Defines the flags, for `--help` as the calling program's own.

  From then on the program ends with the reason alone, wherever it fails, if
  that is the user's to mend; see `refusals`.

  Args:
    demonstrations: whether to define those of `demonstrations`.
  """
  sys.excepthook = _end
  environment_variables.check_devices()
  defined = []
  if demonstrations:
    defined = [
      flags.DEFINE_string(
        'demos',
        None,
        'Folder or file of demonstrations; without it a script records some.',
      ),
      flags.DEFINE_integer(
        'demo-episodes', 20, 'That the script records.', lower_bound=1
      ),
    ]
  defined += [
    flags.DEFINE_string(
      'run',
      None,
      'Folder of the run; one that holds this run already is resumed.',
    ),
    flags.DEFINE_integer('seed', 0, 'Seed of networks and environments.'),
    flags.DEFINE_integer(
      'max-env-steps', None, 'Environment steps after which the run ends.'
    ),
    flags.DEFINE_float(
      'minutes',
      None,
      'Minutes after which this launch ends, from its first update on; where '
      'tasks are trained one after the other, for each. The last evaluation '
      'and the film come after them.',
      lower_bound=0.0,
    ),
    flags.DEFINE_float(
      'start-minutes',
      30.0,
      'With --minutes: the least time for the first update to come in.',
      lower_bound=0.0,
    ),
    flags.DEFINE_float(
      'fault-minutes',
      10.0,
      'Minutes of faults without one good step of the robot after which the '
      'run ends; 0 tries for ever.',
      lower_bound=0.0,
    ),
    flags.DEFINE_float(
      'step-limit',
      None,
      'Seconds after which a step or a picture that has not come ends the run; '
      'by default 45.',
      lower_bound=0.0,
    ),
    flags.DEFINE_float(
      'reset-limit',
      None,
      'The same for a reset; by default 45, on an arm 300.',
      lower_bound=0.0,
    ),
    flags.DEFINE_float(
      'updates-per-step', None, 'Critic updates for each environment step.'
    ),
    flags.DEFINE_bool(
      'keep-ratio',
      None,
      'Have actors wait for these updates between episodes, so that a run of N '
      'steps is the same on any machine; by default in simulation alone.',
    ),
    flags.DEFINE_float(
      'steps-per-second',
      None,
      "Pace of the simulated robot; 0 is the machine's.",
    ),
    flags.DEFINE_bool(
      'local', False, 'Run in one process, without Launchpad and Reverb.'
    ),
    flags.DEFINE_integer(
      'evaluation-episodes',
      None,
      "Of the evaluator's sweeps; a run ends when all of them succeed.",
      lower_bound=1,
    ),
    flags.DEFINE_float(
      'evaluation-period',
      None,
      "Seconds between the starts of two of the evaluator's sweeps.",
      lower_bound=0.0,
    ),
    flags.DEFINE_bool(
      'stop-at-success',
      True,
      'End the run at such a sweep; without it, learn until it is stopped.',
    ),
    flags.DEFINE_float(
      'stop-at-return',
      None,
      'End the run at a sweep with so large a mean return.',
    ),
    flags.DEFINE_integer(
      'max-learner-steps',
      None,
      'Rounds after which a run on demonstrations alone ends.',
    ),
    flags.DEFINE_integer(
      'evaluate',
      None,
      'Train nothing: evaluate a checkpoint of the run in so many episodes.',
      lower_bound=1,
    ),
    flags.DEFINE_list(
      'step',
      [],
      'With --evaluate: learner step of the checkpoint, by default the best '
      'policy; TASK:STEP where tasks alternate, for one of them or each.',
    ),
    flags.DEFINE_bool('video', False, 'With --evaluate: film the episodes.'),
    flags.DEFINE_string(
      'interventions',
      None,
      'Train nothing: measure how a person intervened in the run, and draw it '
      'to this PNG file.',
    ),
    flags.DEFINE_bool(
      'resume', False, 'Refuse to start: only go on with a run that is there.'
    ),
    flags.DEFINE_enum(
      'role',
      'all',
      ['all', 'learner', 'actor', 'evaluator'],
      'Which part runs here: all of it, or one of those on several machines.',
    ),
    flags.DEFINE_integer(
      'port-base', None, 'Port of the learner; of several, of the first one.'
    ),
    flags.DEFINE_string(
      'learner-host', 'localhost', 'Where the others find the learner.'
    ),
    flags.DEFINE_string(
      'key-file',
      None,
      "The learner's key, for an actor or evaluator on another machine: a copy "
      "of key.pem in the learner's run folder. By default that of --run.",
    ),
    flags.DEFINE_list(
      'on-accelerator',
      [],
      'Nodes that use the accelerator beside the learner: actor, evaluator or '
      'both. The others are on the CPU.',
    ),
    flags.DEFINE_enum(
      'intervene',
      'none',
      ['none', *opening.NAMES],
      'What a person takes over by while the actor acts.',
    ),
    flags.DEFINE_float(
      'intervene-scale',
      0.2,
      "Of the person's motion; 1 is the arm's fastest.",
      lower_bound=0.0,
    ),
    flags.DEFINE_integer(
      'live-port', None, 'Of a page with the images that the policy sees.'
    ),
    flags.DEFINE_bool('wandb', False, 'Log to Weights & Biases too.'),
  ]
  show_in_help(*defined)


def show_in_help(*defined: flags.FlagHolder) -> None:
  """Has `--help` show flags as the calling program's own."""
  for holder in defined:
    flag = flags.FLAGS[holder.name]
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def run_dir(default: str) -> str:
  """Returns the folder of the run."""
  return _value('run') or default


def learns() -> bool:
  """Returns whether something is learned here, which needs demonstrations."""
  trains = not _value('evaluate') and not _value('interventions')
  return trains and _value('role') in ('all', 'learner')


def demonstrations(
  run_dir: str,
  make_environment: Callable[[int], dm_env.Environment],
  make_expert: Callable[..., core.Actor] | None,
  noise: float = 0.05,
  part: str = '',
  rejudge: Callable[[pathlib.Path, pathlib.Path, Any], None] | None = None,
  rewarded: bool = True,
) -> pathlib.Path:
  """Returns where the demonstrations are; records them if there are none.

  Those of --demos, else those in the run's folder, where an expert records what
  is missing.

  Args:
    run_dir: the run's folder.
    make_environment: seed -> environment.
    make_expert: takes the keywords noise and environment; None where nobody
      but a person knows the task, who has to have recorded before.
    noise: in what it demonstrates: else it shows one way alone.
    part: the subfolder of --demos, where several tasks share it.
    rejudge: path, folder, spec of the environment; writes demonstrations that
      were rewarded by another than rewards here to the folder, as they are
      rewarded here.
    rewarded: whether the agent learns from their rewards.

  Raises:
    FileError: --demos names nothing that could be read, or that fits.
    SystemExit: there are none, and only a person could record them.
  """
  folder = pathlib.Path(run_dir).expanduser().resolve() / 'demonstrations'
  if _value('demos') is not None:
    path = pathlib.Path(_value('demos')).expanduser() / part
    if learns():
      datasets.check(path)
      if make_expert is not None:
        rewarded &= rejudge is None
        spec = _demand_fitting(path, make_environment, rewarded)
        if rejudge is not None:
          rejudge(path, folder, spec)
    return path if rejudge is None else folder
  done, wanted = len(files.find(folder)), _value('demo-episodes')
  if make_expert is None:
    if not done and learns():
      raise SystemExit(
        f'There are no demonstrations in {folder}, and no script knows the '
        'task on the real arm. Record some by hand and name their folder:\n'
        '  python -m serl.tools.record_demos TASK --robot --out=DEMOS '
        '--device=spacemouse\n'
        '  ... --demos=DEMOS'
      )
    return folder
  if done < wanted and learns():
    # Another seed for what is missing than for what is there.
    with watching('demonstrations') as guard:
      environment = guard.make(make_environment, done)
      expert = make_expert(noise=noise, environment=environment)
      recording.record(
        lambda _: environment,
        expert,
        wanted,
        folder,
        on_damage=run_folder.set_aside(folder.parent),
        fault_limit_s=_fault_limit_s(),
      )
  return folder


def watching(what: str) -> watchdog.Watchdog:
  """Returns a watchdog with the limits that the flags set.

  Args:
    what: is done while it watches, for its reports.
  """
  limits = watchdog.Limits()
  return watchdog.Watchdog(
    what,
    watchdog.Limits(
      _value('step-limit') or limits.step, _value('reset-limit') or limits.reset
    ),
  )


def _fault_limit_s() -> float | None:
  return 60 * _value('fault-minutes') or None


def _demand_fitting(
  path: pathlib.Path,
  make_environment: Callable[[int], dm_env.Environment],
  rewarded: bool,
) -> specs.EnvironmentSpec:
  """Checks demonstrations before anything is written of the run.

  Returns:
    the spec of the environment, which they fit.

  Raises:
    FileError: they are damaged or of another environment, or show no task.
  """
  with contextlib.closing(make_environment(0)) as environment:
    spec = specs.make_environment_spec(environment)
  try:
    recording.check_demonstrations(path, spec, rewarded)
  except files.FileError as error:
    raise files.FileError(
      f'{error}\nWhere the observations differ: what is observed here is set '
      'by flags such as --image-size.'
    ) from error
  return spec


def fields(**defaults: Any) -> dict[str, Any]:
  """Returns the fields of `RunConfig` that the flags set, over `defaults`."""
  given = {
    'max_env_steps': _value('max-env-steps'),
    'max_learner_steps': _value('max-learner-steps'),
    'evaluation_episodes': _value('evaluation-episodes'),
    'evaluation_period_s': _value('evaluation-period'),
    'time_limit_s': None if (m := _value('minutes')) is None else 60 * m,
    'start_limit_s': 60 * _value('start-minutes'),
    'step_limit_s': _value('step-limit'),
    'reset_limit_s': _value('reset-limit'),
    'updates_per_step': _value('updates-per-step'),
    'keep_ratio': _value('keep-ratio'),
    'steps_per_second': _value('steps-per-second'),
    'live_port': _value('live-port'),
    'stop_at_return': _value('stop-at-return'),
  }
  given = {name: value for name, value in given.items() if value is not None}
  found = {
    **defaults,
    **given,
    'seed': _value('seed'),
    'wandb': _value('wandb'),
    'fault_limit_s': _fault_limit_s(),
  }
  found['steps_per_second'] = found.get('steps_per_second') or None
  if _value('intervene') != 'none':
    found['make_intervention'] = functools.partial(
      opening.intervene,
      open_device=opening.share(_value('intervene')),
      scale=_value('intervene-scale'),
    )
  if 'stop_at_successes' in defaults:
    found['stop_at_successes'] = (
      given.get('evaluation_episodes', defaults['stop_at_successes'])
      if _value('stop-at-success')
      else None
    )
  return found


def run(config: programs.RunConfig | programs.AlternatingRuns) -> int:
  """Runs as the flags say, prints what came of it and returns the exit code.

  0 when the run is over, 130 when the user stopped it, 1 when it failed: then
  with the reason alone where it is the user's to mend. 3 when it ended without
  what was asked for: nothing was learned, the updates per step were missed, or
  the learner diverged.
  """
  _quiet()
  if _value('role') != 'all' and (_value('local') or _is_offline(config)):
    return _fail(
      f'--role={_value("role")} is of several processes; expected it without '
      '--local and of an agent that acts while it learns.'
    )
  if not _value('evaluate') and (_value('step') or _value('video')):
    return _fail('--step and --video are of --evaluate=EPISODES beside them.')
  for run in programs.runs_of(config).values():
    if _value('resume') and not (run.folder / 'config.json').exists():
      return _fail(f'--resume: {run.folder} holds no run to go on with.')
  try:
    if _value('evaluate'):
      summary = _evaluate(config)
    elif _value('interventions'):
      picture = pathlib.Path(_value('interventions'))
      summary = {
        task: programs.measure_interventions(
          run, picture.with_stem(f'{picture.stem}_{task}') if task else picture
        )
        for task, run in programs.runs_of(config).items()
      }
    elif _is_offline(config):
      summary = programs.run_offline(config)
    elif _value('local'):
      summary = programs.run_local(config)
    else:
      summary = programs.launch(
        config,
        role=_value('role'),
        port_base=_value('port-base'),
        learner_host=_value('learner-host'),
        key_file=_value('key-file'),
        on_accelerator=tuple(_value('on-accelerator')),
      )
  except programs.Interrupted as error:
    sys.stdout.write(f'{error}\n')
    return 130
  except Exception as error:
    if not refusals.is_refusal(error):
      raise
    return _fail(str(error))
  except KeyboardInterrupt:
    sys.stdout.write('Stopped.\n')
    return 130
  summaries = summary if isinstance(summary, dict) else {'': summary}
  told = [s for s in summaries.values() if s is not None]
  if told:
    sys.stdout.write('\n\n'.join(map(str, told)) + '\n')
  if any(getattr(s, 'reason', None) == report.INTERRUPTED for s in told):
    return 130
  succeeded = all(getattr(s, 'is_success', True) for s in told)
  return 0 if succeeded else _NO_SUCCESS


def _is_offline(config: programs.RunConfig | programs.AlternatingRuns) -> bool:
  return all(run.offline for run in programs.runs_of(config).values())


def _evaluate(
  config: programs.RunConfig | programs.AlternatingRuns,
) -> Mapping[str, Any]:
  """Returns the reports by their tasks."""
  episodes, film = _value('evaluate'), _value('video')
  steps = _steps(programs.runs_of(config))
  if isinstance(config, programs.AlternatingRuns):
    return programs.evaluate_in_turns(config, episodes, steps, film)
  return {'': programs.evaluate(config, episodes, steps.get(''), film)}


def _steps(runs: Mapping[str, programs.RunConfig]) -> dict[str, int]:
  """Returns the steps of --step by their tasks."""
  steps = {}
  for given in _value('step'):
    task, _, step = given.rpartition(':')
    if task not in runs or not step.isdecimal():
      expected = ' or '.join(f'{t}:STEP' if t else 'STEP' for t in runs)
      raise ValueError(
        f'step is {given!r}; expected {expected} of a checkpoint. There are:'
        + ''.join(
          f'\n  {run.folder}: {programs.checkpoint_steps(run)}'
          for run in runs.values()
        )
      )
    steps[task] = int(step)
  return steps


def _quiet() -> None:
  """Keeps what is of no use to the user from between the lines that are."""
  # Accelerators, fonts and speed-ups that are not there.
  for name in ('jax', 'matplotlib', 'OpenGL'):
    python_logging.getLogger(name).setLevel(python_logging.ERROR)
  # Of a fork that is followed by exec at once, for the video: no harm in it.
  warnings.filterwarnings('ignore', r'os\.fork\(\) was called')


def _end(kind: type[BaseException], error: BaseException, trace: Any) -> None:
  """Is told of what nobody has caught; Python's exit code is 1 then."""
  if refusals.is_refusal(error):
    _fail(str(error))
  else:
    sys.__excepthook__(kind, error, trace)


def _fail(reason: str) -> int:
  sys.stderr.write(f'{reason}\n')
  return 1


def _value(name: str) -> Any:
  return flags.FLAGS[name].value
