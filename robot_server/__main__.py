"""Serves an arm: `python -m robot_server --robot-ip=ADDRESS`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import contextlib
import logging
import signal
import sys
from typing import Any

from robot_server import app as app_lib
from robot_server import audit as audit_lib
from robot_server import governor as governor_lib
from robot_server import grippers
from robot_server import guard as guard_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import ros_driver
from robot_server import serving
from robot_server import watchdog as watchdog_lib

_log = logging.getLogger('robot_server')

_MIN_TOKEN = 16  # characters
# Of the life of a command: the patience with the server itself.
_GUARD_SHARE = 0.8


def _joints(text: str) -> tuple[float, ...]:
  try:
    joints = tuple(float(number) for number in text.split(','))
    limits_lib.numbers_in(joints, 7, 'the target')
  except ValueError as error:
    raise argparse.ArgumentTypeError(
      f'{text!r}: expected 7 numbers by commas, rad ({error})'
    ) from error
  return joints


def _port(text: str) -> int:
  if not text.isdecimal() or not 1 <= int(text) <= 65535:
    raise argparse.ArgumentTypeError(f'{text!r}: expected 1 to 65535')
  return int(text)


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
  """Returns the parsed flags; ends the program if they make no sense."""
  parser = argparse.ArgumentParser(
    prog='python -m robot_server',
    description='Serves a Franka arm and its gripper over HTTP.',
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  parser.add_argument(
    '--robot-ip', required=True, help="the address of the arm's controller"
  )
  parser.add_argument(
    '--gripper',
    choices=grippers.KINDS,
    default='robotiq',
    help='the gripper on the arm',
  )
  parser.add_argument(
    '--gripper-ip', default='', help='the address of a Robotiq gripper'
  )
  parser.add_argument(
    '--reset-joint-target',
    type=_joints,
    default=ros_driver.RESET_JOINTS,
    metavar='RAD,...',
    help='the 7 joint angles that a joint reset moves to',
  )
  parser.add_argument(
    '--joint-reset-timeout',
    type=float,
    default=30.0,
    metavar='S',
    help='until a joint reset is given up',
  )
  parser.add_argument(
    '--limits', metavar='FILE', help='the limits of the arm, as JSON'
  )
  parser.add_argument(
    '--audit-log', metavar='FILE', help='gets every command, as JSON lines'
  )
  parser.add_argument(
    '--host',
    default='127.0.0.1',
    help='the address to serve at; beyond this computer a token is needed',
  )
  parser.add_argument('--port', type=_port, default=5000, help='to serve at')
  parser.add_argument(
    '--token-file',
    metavar='FILE',
    help='holds the token that clients must send',
  )
  args = parser.parse_args(arguments)
  if args.gripper == 'robotiq' and not args.gripper_ip:
    parser.error('--gripper=robotiq needs --gripper-ip')
  if not app_lib.is_loopback(args.host) and not args.token_file:
    parser.error(
      f'--host={args.host} lets other computers move the arm: write a token '
      'to a file and give --token-file'
    )
  return args


def read_token(path: str) -> str:
  """Returns the token in a file.

  Raises:
    ValueError: it is too short to be a secret, or no header could hold it.
    OSError: it cannot be read.
  """
  with open(path, encoding='utf-8') as file:
    token = file.read().strip()
  if len(token) < _MIN_TOKEN or not token.isascii() or ' ' in token:
    raise ValueError(
      f'the token in {path} has {len(token)} characters; expected at least '
      f'{_MIN_TOKEN} of ASCII without a space: `openssl rand -hex 32 > {path}`'
    )
  return token


def _serve(args: argparse.Namespace) -> None:
  """Serves the arm until a signal ends the program."""
  token = read_token(args.token_file) if args.token_file else None
  if args.limits:
    limits = limits_lib.load(args.limits)
  else:
    limits = limits_lib.Limits()
    _log.warning(
      'no --limits: the workspace is from %s to %s m',
      limits.box_low,
      limits.box_high,
    )
  with contextlib.ExitStack() as stack:
    stack.enter_context(ros_driver.ros_node())
    gripper = grippers.make(args.gripper, args.gripper_ip)
    driver = ros_driver.RosDriver(
      ros_driver.RosConfig(
        robot_ip=args.robot_ip,
        load_gripper=args.gripper == 'franka',
        reset_joints=args.reset_joint_target,
        joint_reset_timeout=args.joint_reset_timeout,
      ),
      gripper,
    )
    stack.callback(driver.close)
    audit = audit_lib.AuditLog(args.audit_log)
    stack.callback(audit.close)
    governor = governor_lib.Governor(driver, limits, audit)
    # Sooner than the life of a command, which ends before it acts.
    patience = _GUARD_SHARE * limits.command_ttl
    guard = guard_lib.Guard(patience, lambda: driver.mover)
    stack.callback(guard.close)
    stack.callback(watchdog_lib.Watchdog(governor, guard.beat).close)
    try:
      governor.start_impedance()
    except (protocol.DriverError, governor_lib.RefusedError) as error:
      # The server is what tells why, and what starts it again.
      _log.error('the arm is not ready: %s', error)
    _log.info('serving at http://%s:%d/', args.host, args.port)
    app = app_lib.make_app(driver, governor, token)
    serving.Server(app, driver.now, args.host, args.port).run()


def _end(signal_number: int, frame: Any) -> None:
  raise SystemExit(0)


def main() -> None:
  """Runs the server."""
  args = parse_args()
  logging.basicConfig(
    level=logging.INFO, format='%(asctime)s %(name)s %(levelname)s %(message)s'
  )
  signal.signal(signal.SIGTERM, _end)
  try:
    _serve(args)
  except ImportError as error:
    sys.exit(
      f"robot_server: {error}; source the setup of the robot's workspace"
    )
  except (ValueError, OSError, protocol.DriverError) as error:
    sys.exit(f'robot_server: {error}')


if __name__ == '__main__':
  main()
