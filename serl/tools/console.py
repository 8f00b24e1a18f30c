"""What the recording tools share: a device, keys, a preview and counters."""

import argparse
from collections.abc import Callable, Iterator, Mapping
import contextlib
import os
import pathlib
import signal
import sys
import time
from typing import Any, NamedTuple

import dm_env
import imageio.v2 as imageio
import numpy as np

from serl import core
from serl import environment_loop
from serl import specs
from serl.demos import files
from serl.demos import recording
from serl.environments.franka import assembly
from serl.environments.franka import client
from serl.environments.franka import tasks as robot_tasks
from serl.environments.sim import tasks
from serl.environments.wrappers import pacing
from serl.environments.wrappers import reward_camera
from serl.programs import watchdog
from serl.teleop import devices
from serl.teleop import gamepad
from serl.teleop import keyboard
from serl.teleop import opening
from serl.teleop import scripted

_LIMITS = watchdog.Limits()
_ARM_RESET_LIMIT_S = 300.0  # it may move its joints
_PREVIEW_S = 1.0  # between two pictures in the folder
_DISCARD, _RESTART, _SUCCESS = '\x7f', 'n', ' '
_TAP_S = 0.7  # terminals take so long to repeat a key that is held
_HELP = (
  'Backspace: delete the episode before this one   n: begin this one anew\n'
  'Ctrl-C: end here; finished episodes are on disk already'
)
_DEVICE_HELP = {'keyboard': keyboard.HELP, 'gamepad': gamepad.HELP}


class Marks:
  """How a person marks success: the space bar, or a button of their gamepad."""

  def __init__(
    self,
    keys: keyboard.Keyboard,
    find_pad: Callable[[], gamepad.Gamepad | None],
  ):
    """Initialises it.

    Args:
      keys: of the terminal.
      find_pad: returns the gamepad, None while there is none.
    """
    self._keys = keys
    self._find_pad = find_pad

  def was_marked(self) -> bool:
    """Returns whether success was marked since this was last asked."""
    by_key = self._keys.pressed(_SUCCESS)
    pad = self._find_pad()
    return (pad is not None and pad.was_marked()) or by_key

  def is_marked(self) -> bool:
    """Returns whether success is marked now."""
    pad = self._find_pad()
    by_pad = pad is not None and pad.is_marked()
    return by_pad or self._keys.held(_SUCCESS, _TAP_S)


class Session(NamedTuple):
  """What there is to record with."""

  make_environment: Callable[[int], dm_env.Environment]
  actor: core.Actor
  folder: pathlib.Path
  seed: int
  operator: recording.Operator
  marks: Marks | None  # of the person who acts; None where an expert does
  fault_limit_s: float | None  # see `EnvironmentLoop`


def make_parser(tool: str, description: str) -> argparse.ArgumentParser:
  """Returns a parser of the arguments that the recording tools share."""
  parser = argparse.ArgumentParser(
    prog=f'python -m serl.tools.{tool}',
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    'task',
    metavar='TASK',
    help=f'simulated: {", ".join(sorted(tasks.TASKS))}; with --robot: '
    f'{", ".join(sorted(robot_tasks.TASKS))}, or the FILE.py of new_task',
  )
  add(
    '--robot',
    action='store_true',
    help='on the real arm; an emergency stop is at hand',
  )
  add('--token-file', type=pathlib.Path, help="with the robot server's token")
  add(
    '--out',
    metavar='FOLDER',
    type=pathlib.Path,
    required=True,
    help='of the episodes; what is there already counts',
  )
  add(
    '--device',
    choices=['scripted', *opening.NAMES],
    default='scripted',
    help='who acts: an expert that knows the task, or a person',
  )
  add(
    '--seed',
    type=at_least_none,
    default=0,
    help='of the random starts and the noise',
  )
  add(
    '--size',
    type=int,
    help="height and width of simulated images, pixels; by default the task's",
  )
  add(
    '--noise',
    type=float,
    help="standard deviation in the expert's actions; by default the task's",
  )
  add(
    '--scale',
    type=float,
    default=0.2,
    help="of a person's motion, default %(default)s; 1 is the arm's fastest",
  )
  add(
    '--steps-per-second',
    type=_positive,
    default=10.0,
    help='the pace where a person acts in simulation, default %(default)s',
  )
  add(
    '--step-limit',
    type=_positive,
    default=_LIMITS.step,
    metavar='SECONDS',
    help='of one step of the environment, default %(default)s; one that takes '
    'longer ends the recording',
  )
  add(
    '--reset-limit',
    type=_positive,
    metavar='SECONDS',
    help=f'of one reset, default {_LIMITS.reset}, of an arm '
    f'{_ARM_RESET_LIMIT_S}',
  )
  add(
    '--fault-minutes',
    type=_positive,
    default=recording.FAULT_LIMIT_S / 60,
    metavar='MINUTES',
    help='in which no step of the robot succeeds; then the recording ends, '
    'default %(default)s',
  )
  add(
    '--no-preview',
    action='store_true',
    help="show nothing; else a person with a display gets MuJoCo's viewer "
    '(leave the keyboard to the terminal), others preview.png in the folder',
  )
  return parser


def run(
  parser: argparse.ArgumentParser,
  options: argparse.Namespace,
  target: Mapping[str, int],
  record: Callable[[Session], Mapping[str, int]],
  for_policy: bool = False,
) -> int:
  """Records, and returns the exit code: 130 when the user stopped it.

  Args:
    parser: of the tool.
    options: what it has parsed.
    target: how many there shall be, by name.
    record: records and returns how many there are.
    for_policy: whether a policy learns from it, which does not see the arm's
      cameras that are for the reward alone.
  """
  try:
    with _open_session(parser.prog, options, target, for_policy) as session:
      counts = record(session)
  except (
    ValueError,
    OSError,
    core.FaultError,
    devices.DeviceError,
    environment_loop.FaultLimitError,
    recording.RecordingError,
    watchdog.HungError,
  ) as error:
    kept = len(files.find(options.out))
    parser.error(f'{error}\n{kept} finished episodes are in {options.out}')
  print(f'{_describe(counts, target)} in {session.folder}')
  if any(counts[name] < target[name] for name in target):
    print('Stopped early; the same command goes on from here.')
    return 128 + signal.SIGINT
  recorded = files.find(options.out)
  if recorded and options.device != 'scripted':
    print(
      f'The last one is {recorded[-1]}; to do it over, delete it and repeat '
      'this.'
    )
  return 0


@contextlib.contextmanager
def _open_session(
  program: str,
  options: argparse.Namespace,
  target: Mapping[str, int],
  for_policy: bool,
) -> Iterator[Session]:
  # Other starts than those of the episodes that are there.
  seed = options.seed + len(files.find(options.out))
  person = options.device != 'scripted'
  if options.robot and not person:
    raise ValueError(
      'The experts know simulated tasks only; on the real arm use '
      '--device=spacemouse, --device=gamepad or --device=keyboard.'
    )
  with contextlib.ExitStack() as stack:
    reset_limit_s = options.reset_limit or (
      _ARM_RESET_LIMIT_S if options.robot else _LIMITS.reset
    )
    # Before the keyboard, whose terminal it gives back.
    guard = stack.enter_context(
      watchdog.Watchdog(
        program, watchdog.Limits(options.step_limit, reset_limit_s)
      )
    )
    keys = None
    if person or keyboard.is_terminal(sys.stdin):
      keys = stack.enter_context(keyboard.Keyboard())
    if person:
      open_device = lambda: opening.open_device(options.device)
      if options.device == 'keyboard':
        open_device = lambda: keys
      device = opening.Shared(open_device)
      # A device that is not there is told before the arm is looked for.
      stack.callback(device().close)
    environment = guard.make(
      lambda seed: _make_environment(options, seed, for_policy), seed
    )
    stack.callback(environment.close)
    if person:
      actor = devices.DeviceActor(
        device, scale=options.scale, **devices.conventions(environment)
      )
    else:
      actor = _make_expert(options.task, seed, options.noise, environment)
    options.out.mkdir(parents=True, exist_ok=True)
    show = lambda timestep: None
    if not options.no_preview:
      # What people see in simulation, they see beside them of the real arm.
      simulated = person and not options.robot
      show = _make_preview(stack, environment, options.out, simulated)
    operator = stack.enter_context(_Console(keys, target, show))
    if keys is not None:
      print(_HELP)
    if options.device in _DEVICE_HELP:
      print(_DEVICE_HELP[options.device])
    find_pad = lambda: None
    if options.device == 'gamepad':
      find_pad = lambda: device.device
    yield Session(
      make_environment=lambda _: environment,
      actor=actor,
      folder=options.out,
      seed=seed,
      operator=operator,
      marks=Marks(keys, find_pad) if person else None,
      fault_limit_s=60 * options.fault_minutes,
    )


def _make_environment(
  options: argparse.Namespace, seed: int, for_policy: bool
) -> dm_env.Environment:
  if options.robot:
    if options.size is not None:
      raise ValueError(
        f'--size={options.size}: the images of the real arm have the '
        "image_size of the task's config; change it there."
      )
    token = client.read_token(options.token_file)
    config = robot_tasks.load(options.task)
    # Paced by its own clock.
    environment = assembly.make(config, token, seed)
    if not for_policy:
      return environment
    return reward_camera.RewardCamera(environment, config.reward_cameras)
  environment = tasks.make(options.task, seed, options.size, for_policy)
  if options.device == 'scripted':
    return environment
  return pacing.RealTime(environment, 1 / options.steps_per_second)


def _make_expert(
  task: str, seed: int, noise: float | None, environment: dm_env.Environment
) -> core.Actor:
  if task not in scripted.EXPERTS:
    raise ValueError(
      f'the task {task!r} has no expert; use --device with one of '
      f'{", ".join(opening.NAMES)}'
    )
  if noise is None:
    noise = scripted.NOISES[task]
  return scripted.EXPERTS[task](noise, seed, environment)


def _make_preview(
  stack: contextlib.ExitStack,
  environment: Any,
  folder: pathlib.Path,
  simulated: bool,
) -> Callable[[dm_env.TimeStep], None]:
  """Returns what shows a timestep.

  Args:
    stack: closes it.
    environment: that the timesteps come from.
    folder: of the pictures.
    simulated: whether a person acts who sees the arm only here.
  """
  images = [
    name
    for name, leaf in specs.flatten(environment.observation_spec()).items()
    if specs.is_image(leaf)
  ]
  if not (simulated or images):
    return lambda timestep: None
  if simulated and (sys.platform != 'linux' or os.environ.get('DISPLAY')):
    import mujoco.viewer

    viewer = stack.enter_context(
      mujoco.viewer.launch_passive(environment.model, environment.data)
    )
    return lambda timestep: viewer.sync()

  def draw(timestep: dm_env.TimeStep) -> np.ndarray:
    if not images:
      return environment.render()
    arrays = specs.flatten(timestep.observation)
    return np.concatenate([arrays[name] for name in images], axis=1)

  latest = -np.inf

  def write(timestep: dm_env.TimeStep) -> None:
    nonlocal latest
    if time.monotonic() - latest < _PREVIEW_S:
      return
    unfinished = folder / '.preview.png'
    imageio.imwrite(unfinished, draw(timestep))
    unfinished.replace(folder / 'preview.png')
    latest = time.monotonic()

  return write


class _Console(recording.Operator):
  """Hears the keys, and Ctrl-C between two steps; prints the counters."""

  def __init__(
    self,
    keys: keyboard.Keyboard | None,
    target: Mapping[str, int],
    show: Callable[[dm_env.TimeStep], None],
  ):
    self._keys = keys
    self._target = target
    self._stopped = False
    self._handlers: dict[int, Any] = {}
    self.show = show

  def __enter__(self) -> '_Console':
    for number in (signal.SIGINT, signal.SIGTERM):
      self._handlers[number] = signal.signal(number, self._stop)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)

  def _stop(self, number: int, _) -> None:
    # A second one does what it always does, should a step never end.
    signal.signal(number, self._handlers[number])
    self._stopped = True

  def report(self, counts: Mapping[str, int]) -> None:
    print(_describe(counts, self._target), flush=True)

  def wants_stop(self) -> bool:
    return self._stopped

  def wants_restart(self) -> bool:
    return self._keys is not None and self._keys.pressed(_RESTART)

  def wants_discard(self) -> bool:
    return self._keys is not None and self._keys.pressed(_DISCARD)

  def discarded(self, found: bool) -> None:
    print(
      'Deleted the episode before this one'
      if found
      else 'Nothing to delete: the episode before this one was not kept',
      flush=True,
    )


def at_least_one(text: str) -> int:
  """Returns the number that an argument counts something by."""
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'{text}; expected at least 1')
  return int(text)


def at_least_none(text: str) -> int:
  """Returns the number that an argument counts what may be none by."""
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f'{text}; expected a number of 0 or more')
  return int(text)


def _positive(text: str) -> float:
  number = float(text)
  if not number > 0:
    raise argparse.ArgumentTypeError(f'{text} is not more than 0')
  return number


def _describe(counts: Mapping[str, int], target: Mapping[str, int]) -> str:
  return ', '.join(
    f'{name} {n} of {target[name]}' if name in target else f'{name} {n}'
    for name, n in counts.items()
  )
