"""Checks what a run on the real arm needs, before it needs it.

python -m serl.tools.doctor TASK

TASK is the name of a task on the real arm or the file of one. The arm does not
move. A SpaceMouse or gamepad is to be moved when it asks for it. The exit code
is 1 if something fails.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
import contextlib
import dataclasses
import email.utils
import pathlib
import shutil
import socket
import threading
import time
from typing import Any, NamedTuple

import numpy as np
import rich
from rich import markup
from rich import table as rich_table
import urllib3

from serl import core
from serl.environments.franka import assembly
from serl.environments.franka import cameras
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.franka import tasks
from serl.teleop import devices
from serl.teleop import gamepad
from serl.teleop import opening
from serl.teleop import trial
from serl.utils import addresses
from serl.utils import environment_variables

PASS, WARN, FAIL = 'pass', 'warn', 'fail'
_COLOURS = {PASS: 'green', WARN: 'yellow', FAIL: 'red'}

_CALLS = 50  # of which the round trips are measured
_FAST_MS, _SLOW_MS = 10.0, 40.0  # of 99 % of them
_MOST_SKEW_S = 2.0  # between the computers; the header tells whole seconds
_WATCHED_S = 1.5  # a camera is
_MOTION_S = 10.0  # in which a person moves the device that they are asked to
_DARK, _BRIGHT = 20.0, 235.0  # of 255, means of pictures
_EXPOSURE_OFF = 0.05  # of what was asked for; sensors have steps
_LITTLE_GB, _LEAST_GB = 20.0, 2.0
# Of a learner by role, as in the README; a second task's is on the next one.
_PORTS = (5300, 5301)


class Finding(NamedTuple):
  """What a check found."""

  name: str
  verdict: str  # PASS, WARN or FAIL
  found: str
  advice: str = ''  # what to do; '' where nothing is to be done


def check_server(robot: client.HttpRobot) -> Finding:
  """Tells whether the robot's server answers."""
  try:
    health = robot.health()
  except core.FaultError as error:
    return Finding(
      'server',
      FAIL,
      str(error),
      "on the robot's computer: python -m robot_server --robot-ip=ADDRESS",
    )
  except client.RequestError as error:
    return Finding(
      'server', FAIL, str(error), "give the server's token in --token-file"
    )
  return Finding('server', PASS, f'answers, drives a {health["driver"]}')


def check_controller(robot: client.HttpRobot) -> Finding:
  """Tells whether the arm would obey."""
  name = 'controller'
  try:
    state = robot.read_state()
    left = robot.health()['recoveries_left']
  except (core.FaultError, client.RequestError) as error:
    return Finding(
      name,
      FAIL,
      str(error),
      'unlock the joints, release the stop, activate FCI, clear what the arm '
      'touches',
    )
  force = np.linalg.norm(state.force)
  found = f'{state.mode}, force {force:.1f} N, {left} recoveries left'
  if left == 0:
    return Finding(name, WARN, found, 'look at the arm, then POST /release')
  if force > 10:
    return Finding(
      name,
      WARN,
      found,
      "nothing should touch it: set the hand's mass and centre in Desk",
    )
  return Finding(name, PASS, found)


def check_round_trips(robot: client.HttpRobot) -> Finding:
  """Measures what a request costs; a control step has two of them."""
  name = 'round trips'
  durations = []
  try:
    for _ in range(_CALLS):
      start = time.perf_counter()
      robot.health()
      durations.append(1e3 * (time.perf_counter() - start))
  except (core.FaultError, client.RequestError) as error:
    return Finding(name, FAIL, str(error), 'see the server')
  median, worst = np.percentile(durations, (50, 99))
  found = f'{median:.1f} ms, 99 % within {worst:.1f} ms'
  if worst < _FAST_MS:
    return Finding(name, PASS, found)
  return Finding(
    name,
    WARN if worst < _SLOW_MS else FAIL,
    found,
    'use a cable, not a radio; run nothing else on either computer',
  )


def check_clocks(url: str, now: Callable[[], float] = time.time) -> Finding:
  """Compares the clock of the server's computer with this one's."""
  name = 'clocks'
  try:
    # It needs no token.
    answer = urllib3.request(
      'GET', f'{url.rstrip("/")}/openapi.json', timeout=1.0, retries=False
    )
    there = email.utils.parsedate_to_datetime(answer.headers['Date'])
  except (urllib3.exceptions.HTTPError, KeyError, ValueError) as error:
    return Finding(name, FAIL, f'it told no time ({error})', 'see the server')
  skew = there.timestamp() - now()
  found = f'{skew:+.1f} s there'
  if abs(skew) <= _MOST_SKEW_S:
    return Finding(name, PASS, found)
  return Finding(
    name,
    WARN,
    found,
    'the logs of both will not fit together: let both follow NTP',
  )


def check_camera(config: config_lib.CameraConfig, size: int) -> Finding:
  """Opens a camera and watches it for a moment."""
  name = f'camera {config.name}'
  advice = (
    "compare the serial with the config's; use a USB 3 port of its own; let "
    'no other program have it'
  )
  try:
    camera = assembly.open_camera(config, size)
  except core.FaultError as error:
    return Finding(name, FAIL, str(error), advice)
  except ImportError as error:
    return Finding(name, FAIL, str(error), "pip install 'serl[franka]'")
  try:
    times, brightness = _watch(camera)
    has_exposure = isinstance(camera, cameras.HasExposure)
    exposure = camera.exposure() if has_exposure else None
  except core.FaultError as error:
    return Finding(name, FAIL, str(error), advice)
  finally:
    camera.close()
  rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
  found = (
    f'{config.serial}, {rate:.0f} of {config.rate} pictures a second, '
    f'brightness {brightness:.0f} of 255'
  )
  if exposure is not None:
    automatic = ', automatic' if exposure.automatic else ''
    found += f', exposure {exposure.value:g}{automatic}'
  if rate < 0.8 * config.rate:
    return Finding(name, WARN, found, 'a faster port, or fewer on one hub')
  if not _DARK <= brightness <= _BRIGHT:
    return Finding(name, WARN, found, "light, or the config's exposure")
  asked = config.exposure
  if None not in (asked, exposure) and not _is_exposed(exposure, asked):
    return Finding(
      name,
      WARN,
      found,
      f'the config asks for an exposure of {asked:g}: give it one that the '
      'camera takes, see realsense-viewer',
    )
  return Finding(name, PASS, found)


def _is_exposed(exposure: cameras.Exposure, asked: float) -> bool:
  off = abs(exposure.value - asked)
  return not exposure.automatic and off <= _EXPOSURE_OFF * asked


def _watch(camera: cameras.Camera) -> tuple[list[float], float]:
  """Returns when new pictures came, s, and how bright the last one was."""
  times: list[float] = []
  end = time.monotonic() + _WATCHED_S
  while time.monotonic() < end:
    frame = camera.read()
    if not times or frame.time > times[-1]:
      times.append(frame.time)
    time.sleep(0.002)
  return times, float(frame.image.mean())


def check_device(seconds: float = _MOTION_S) -> Finding:
  """Tells whether there is a SpaceMouse or a gamepad that reports motions.

  Args:
    seconds: that a person has to move what is there.
  """
  opened: dict[str, devices.Device] = {}
  missing = []
  with contextlib.ExitStack() as stack:
    for name in ('spacemouse', 'gamepad'):
      try:
        opened[name] = opening.open_device(name)
      except devices.DeviceError as error:
        missing.append(str(error))
      else:
        stack.callback(opened[name].close)
    if not opened:
      return Finding(
        'device', WARN, '\n'.join(missing), 'one of them, or the keyboard'
      )
    console = rich.get_console()
    names = ' and the '.join(opened)
    console.print(f'Move the {names}, and let go: {seconds:g} s.')
    try:
      with console.status('') as status:
        show = lambda text: status.update(markup.escape(text))
        seen = trial.watch(opened, seconds, show)
    except devices.DeviceError as error:
      return Finding('device', WARN, str(error), 'another cable or port')
  if all(motion.was_seen for motion in seen.values()):
    return Finding('device', PASS, trial.describe(seen))
  return Finding(
    'device',
    WARN,
    trial.describe(seen),
    'move it when the doctor asks for it, and let go; charge it; name its file '
    f'in SERL_SPACEMOUSE or {gamepad.PATH_VARIABLE}',
  )


def check_disk(folder: pathlib.Path) -> Finding:
  """Tells how much room there is for episodes and checkpoints."""
  folder = folder.absolute()
  while not folder.exists():
    folder = folder.parent
  free = shutil.disk_usage(folder).free / 1e9
  found = f'{free:.0f} GB free at {folder}'
  if free >= _LITTLE_GB:
    return Finding('disk', PASS, found)
  verdict = WARN if free >= _LEAST_GB else FAIL
  return Finding('disk', verdict, found, 'an hour with two cameras is 3 GB')


def check_precedence() -> Finding:
  """Tells whether a control loop here may run before other programs."""
  allowed = []
  # In a thread of its own, whose priority ends with it.
  thread = threading.Thread(
    target=lambda: allowed.append(robot_lib.take_precedence())
  )
  thread.start()
  thread.join()
  if allowed[0]:
    return Finding('precedence', PASS, 'control loops may go first')
  return Finding(
    'precedence',
    WARN,
    'this user may not give a control loop a higher priority',
    'a line "USER - nice -10" in /etc/security/limits.conf, and a new login',
  )


def check_port(port: int, needed: bool = True) -> Finding:
  """Tells whether a port of this computer is free.

  Args:
    port: of this computer.
    needed: whether a run needs this one, and none in its place will do.
  """
  name = f'port {port}'
  with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(('', port))
    except OSError as error:
      who = f'find who has it: ss -ltnp sport = :{port}'
      if needed:
        return Finding(name, FAIL, str(error), who)
      return Finding(
        name,
        WARN,
        str(error),
        f'{who}; the tunnel to the learner may, a run that ended may not. A '
        'learner here needs another --port-base then',
      )
  return Finding(name, PASS, 'free')


def check_accelerator() -> Finding:
  """Tells what JAX would learn on."""
  try:
    environment_variables.check_devices()
  except environment_variables.VariableError as error:
    return Finding('accelerator', FAIL, str(error), 'the variable')
  # It takes a second, and nothing else here needs it.
  import jax

  found = ', '.join(str(device) for device in jax.devices())
  if jax.default_backend() != 'cpu':
    return Finding('accelerator', PASS, found)
  return Finding(
    'accelerator',
    WARN,
    found,
    "to learn from images here: a GPU and pip install 'serl[cuda]'",
  )


def examine(
  config: config_lib.Config,
  token: str | None,
  folder: pathlib.Path,
  ports: Sequence[int] = (),
) -> Iterable[Finding]:
  """Yields what all checks find, one after another.

  Args:
    config: of the task.
    token: that the robot's server demands.
    folder: where runs will be.
    ports: that must be free here; by default those that runs use by default
      should be.
  """
  robot = client.HttpRobot(config.url, token)
  server = _run('server', check_server, robot)
  yield server
  if server.verdict != FAIL:
    yield _run('controller', check_controller, robot)
    yield _run('round trips', check_round_trips, robot)
    yield _run('clocks', check_clocks, config.url)
  robot.close()
  for camera in config.cameras:
    yield _run(f'camera {camera.name}', check_camera, camera, config.image_size)
  yield _run('device', check_device)
  yield _run('disk', check_disk, folder)
  yield _run('precedence', check_precedence)
  for port in ports or _PORTS:
    yield _run(f'port {port}', check_port, port, port in ports)
  yield _run('accelerator', check_accelerator)


def _run(name: str, check: Callable[..., Finding], *arguments: Any) -> Finding:
  """Returns what a check finds; one that raises has failed."""
  try:
    return check(*arguments)
  except Exception as error:  # noqa: BLE001
    # One part that is broken hides nothing of the others.
    return Finding(
      name,
      FAIL,
      f'the check itself failed: {type(error).__name__}: {error}',
      'look at what it names; if that is sound, report it',
    )


def _port(text: str) -> int:
  try:
    addresses.check_ports(int(text), 1, 'it')
  except ValueError as error:
    raise argparse.ArgumentTypeError(f'{text!r}: {error}') from error
  return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
  """Prints the findings; returns 1 if something fails."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.doctor',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('task', metavar='TASK', help=', '.join(tasks.TASKS) + ' or FILE.py')
  add('--url', help="of the robot's server; default: the task's")
  add('--token-file', help="with the robot server's token")
  add(
    '--folder',
    type=pathlib.Path,
    default=pathlib.Path(),
    help='where runs will be; default: here',
  )
  add(
    '--port',
    type=_port,
    action='append',
    default=[],
    help='that must be free here; may be given several times. By default '
    f'{" and ".join(map(str, _PORTS))} are looked at, which a learner with '
    f'--port-base={_PORTS[0]} listens on',
  )
  flags = parser.parse_args(arguments)
  try:
    config = tasks.load(flags.task)
    if flags.url:
      config = dataclasses.replace(config, url=flags.url)
    token = client.read_token(flags.token_file)
    findings = list(examine(config, token, flags.folder, flags.port))
  except (OSError, ValueError) as error:
    parser.error(str(error))
  rich.print(make_table(findings))
  return int(any(finding.verdict == FAIL for finding in findings))


def make_table(findings: Iterable[Finding]) -> rich_table.Table:
  """Returns the findings as a table."""
  table = rich_table.Table(title='doctor', show_lines=True)
  table.add_column('check', no_wrap=True)
  table.add_column('', no_wrap=True)
  table.add_column('found', overflow='fold')
  table.add_column('what to do', overflow='fold')
  for name, verdict, found, advice in findings:
    colour = _COLOURS[verdict]
    table.add_row(
      name,
      f'[{colour}]{verdict}[/{colour}]',
      markup.escape(found),
      markup.escape(advice),
    )
  return table


if __name__ == '__main__':
  raise SystemExit(main())
