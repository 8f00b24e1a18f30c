"""Nonsense and wild commands to the robot server, and the time until a hold.

python benchmarks/fuzz_server.py [--requests=3000] [--seed=0] [--holds=50]
  [--connections=1000]

The server is the real one, in a process of its own over an arm without
dynamics, at the limits that are shipped. The arm meets force at times, is in a
reflex or stopped by a person. One JSON line each:
  malformed: requests that make no sense, as HTTP, as JSON or as a command;
  wild: requests that make sense, of several clients, at their worst;
  time_to_hold: from the first byte of a new connection to the answer of /hold,
    while another client leads the arm: without others, beside connections that
    ask nothing, and beside such with a part of a request from 10 addresses. As
    many as are closed are opened anew, up to as many a second.

`crashes` are answers 500, and one more if the server is dead at the end;
`unanswered` are connections that were closed without an answer.
`motions_outside` are commands to the arm outside of the box, of the allowed
rotations or of the step from the measured pose, and such at which the commanded
pose has gone faster in the last half second than is allowed.
"""

import argparse
import collections
from collections.abc import Callable, Sequence
import contextlib
import json
import socket
import statistics
import threading
import time

import numpy as np
import report
from scipy.spatial import transform
import served_arm

from robot_server import protocol
from robot_server import routes as routes_lib
from serl.environments.franka import robot as robot_lib

_CLIENTS = ('left', 'right', None)
_PATHS = [route.path for route in routes_lib.ROUTES]
_STARTS_NOTHING = ('/hold', '/stopimp')


def _send_bytes(address: tuple[str, int], data: bytes) -> int:
  """Returns the status that bytes are answered with; 0 without an answer."""
  first = []
  with (
    socket.create_connection(address, served_arm.TIMEOUT_S) as client,
    contextlib.suppress(OSError),
  ):
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    first = client.recv(4096)[:12].split(b' ')
  return int(first[1]) if len(first) > 1 and first[1].isdigit() else 0


def _nonsense(rng: np.random.Generator) -> object:
  """Returns a value that served_arm.JSON can hold and no command should."""
  values = (
    None, True, '', 'x' * 50, -1, 256, 1e308, -1e308, 10**400, [], {}, [[]],
    float('nan'), float('inf'), list(range(100)), {'arr': None}, '\ud800',
  )  # fmt: skip
  return values[rng.integers(len(values))]


def _malformed_body(rng: np.random.Generator) -> bytes:
  pose = list(served_arm.HOME)
  kind = rng.integers(6)
  if kind == 0:
    return bytes(rng.integers(0, 256, rng.integers(0, 200), np.uint8))
  if kind == 1:
    return rng.choice([b'[', b'{"a":', b'"', b'{']) * int(rng.integers(1, 4000))
  if kind == 2:
    for _ in range(rng.integers(1, 4)):
      pose[rng.integers(7)] = _nonsense(rng)
    return json.dumps({'arr': pose}).encode()
  if kind == 3:
    return json.dumps({'arr': pose[: rng.integers(7)]}).encode()
  if kind == 4:
    name = rng.choice(['arr', 'gripper_pos', 'translational_stiffness', 'x'])
    return json.dumps({str(name): _nonsense(rng)}).encode()
  whole = bytearray(json.dumps({'arr': pose}).encode())
  for _ in range(rng.integers(1, 8)):
    whole[rng.integers(len(whole))] = rng.integers(256)
  return bytes(whole)


def _malformed(address: tuple[str, int], rng: np.random.Generator) -> int:
  """Sends a request that makes no sense; returns the answer's status."""
  path = str(rng.choice([p for p in _PATHS if p not in _STARTS_NOTHING]))
  kind = rng.integers(4)
  if kind == 0:
    method = str(rng.choice(['GET', 'PUT', 'DELETE', 'PATCH', 'POST', 'X']))
    path = f'/{rng.choice(["", "x", "..%2f", "%00", "pose/", "a" * 3000])}'
    return served_arm.ask(address, method, path)
  if kind == 1:
    head = bytearray(
      f'POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n'
      f'Content-Type: {served_arm.JSON}\r\n'
      f'Content-Length: {rng.integers(-5, 50)}\r\n'
      f'{rng.choice(["", "Transfer-Encoding: chunked"])}\r\n\r\n'.encode()
    )
    for _ in range(rng.integers(1, 12)):
      head[rng.integers(len(head))] = rng.integers(256)
    return _send_bytes(address, bytes(head) + _malformed_body(rng))
  body = _malformed_body(rng)
  headers = {
    'Content-Type': str(
      rng.choice([served_arm.JSON, 'text/plain', '', 'a/b; c="'])
    ),
  }
  if kind == 2:
    sent = ['nan', '1e999', 'soon', '-1', '\xe9', '0x10', '9' * 500]
    headers[protocol.SENT] = str(rng.choice(sent))
    headers[protocol.CLIENT] = 'x' * int(rng.integers(0, 200))
  path = str(rng.choice(['/pose', '/step', '/move_gripper', '/update_param']))
  return served_arm.ask(address, 'POST', path, body, headers)


def _wild_body(path: str, rng: np.random.Generator) -> bytes | None:
  if path in ('/pose', '/step'):
    position = rng.normal(size=3) * 10.0 ** rng.uniform(-2, 200)
    if rng.random() < 0.7:
      position = np.add(served_arm.HOME[:3], rng.uniform(-0.4, 0.4, 3))
    pose = [*position, *transform.Rotation.random(random_state=rng).as_quat()]
    return json.dumps({'arr': pose}).encode()
  if path == '/move_gripper':
    return json.dumps({'gripper_pos': int(rng.integers(256))}).encode()
  if path == '/update_param':
    names = rng.choice(list(protocol.COMPLIANCE), rng.integers(1, 5))
    return json.dumps(
      {str(name): rng.uniform(*protocol.COMPLIANCE[name][:2]) for name in names}
    ).encode()
  return None


def _wild(address: tuple[str, int], rng: np.random.Generator) -> int:
  """Sends a request that makes sense; returns the answer's status."""
  others = [route for route in routes_lib.ROUTES if route.path != '/health']
  path, method = str(rng.choice(['/pose', '/step'])), 'POST'
  if rng.random() < 0.3:
    route = others[rng.integers(len(others))]
    path, method = route.path, route.method
  headers = {'Content-Type': served_arm.JSON}
  name = _CLIENTS[rng.integers(len(_CLIENTS))]
  if name is not None:
    headers[protocol.CLIENT] = name
  if rng.random() < 0.5:
    sent = time.monotonic() + rng.normal() * 0.1
    headers[protocol.SENT] = f'{sent:.6f}'
  status = served_arm.ask(address, method, path, _wild_body(path, rng), headers)
  if path in _STARTS_NOTHING or rng.random() < 0.05:
    # A held arm would be moved by nothing of what follows.
    served_arm.ask(address, 'POST', '/release')
    served_arm.ask(address, 'POST', '/startimp')
  return status


def fuzz(
  send: Callable[[tuple[str, int], np.random.Generator], int],
  requests: int,
  seed: int,
) -> dict[str, object]:
  """Returns what a number of requests of a kind did to server and arm."""
  with served_arm.server(seed) as (address, control):
    control('fare badly' if send is _wild else 'fare well')
    statuses: collections.Counter[int] = collections.Counter()
    began, threads = time.monotonic(), []

    def run(number: int) -> None:
      rng = np.random.default_rng((seed, number))
      for _ in range(requests // len(_CLIENTS)):
        statuses[send(address, rng)] += 1

    for number in range(len(_CLIENTS)):
      threads.append(threading.Thread(target=run, args=(number,)))
      threads[-1].start()
    for thread in threads:
      thread.join()
    elapsed = time.monotonic() - began
    commands, gripper, outside = control('fare well')
    is_dead = served_arm.ask(address, 'GET', '/health') not in (200, 503)
  undeclared = sum(
    count
    for status, count in statuses.items()
    if status >= 500 and status not in (501, 503)
  )
  return {
    'requests': sum(statuses.values()),
    'crashes': undeclared + is_dead,
    'unanswered': statuses[0],
    'motions_outside': sum(outside.values()),
    'outside': outside,
    'pose_commands': commands,
    'gripper_commands': gripper,
    'statuses': {str(status): statuses[status] for status in sorted(statuses)},
    'seconds': elapsed,
  }


def time_to_hold(
  holds: int, connections: int, addresses: int = 1, sends: bytes = b''
) -> dict[str, object]:
  """Returns how long holds took, ms, beside so many connections."""
  # What it measures is not how busy the machine is.
  robot_lib.take_precedence()
  with contextlib.ExitStack() as stack:
    address, control = stack.enter_context(served_arm.server(0))
    control('fare well')
    ended = threading.Event()
    leader = threading.Thread(target=served_arm.lead, args=(address, ended))
    leader.start()
    stack.callback(leader.join)
    stack.callback(ended.set)
    opened = 0
    if connections:
      opened = stack.enter_context(
        served_arm.crowded(address, connections, addresses, sends)
      )
    times, failed = [], 0
    for _ in range(holds):
      time.sleep(0.05)
      began = time.perf_counter()
      status = served_arm.ask(address, 'POST', '/hold')
      times.append(1e3 * (time.perf_counter() - began))
      failed += status != 200
      served_arm.ask(address, 'POST', '/release')
  return {
    'holds': holds,
    'failed': failed,
    'connections': opened,
    'addresses': addresses if connections else 0,
    'p50_ms': statistics.median(times),
    'max_ms': max(times),
    'asked_max_ms': 200.0,
  }


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  parser.add_argument(
    '--requests', type=int, default=3000, help='requests of each kind'
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='seed of the requests'
  )
  parser.add_argument(
    '--holds', type=int, default=50, help='holds that are timed each way'
  )
  parser.add_argument(
    '--connections', type=int, default=1000, help='connections beside the holds'
  )
  flags = parser.parse_args(arguments)
  for name, send in (('malformed', _malformed), ('wild', _wild)):
    report.emit(
      f'fuzz_server_{name}',
      seed=flags.seed,
      **fuzz(send, flags.requests, flags.seed),
    )
  part = b'POST /pose HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: '
  for name, crowd in (
    ('idle', {'connections': 0}),
    ('silent', {'connections': flags.connections}),
    (
      'partial',
      {'connections': flags.connections, 'addresses': 10, 'sends': part},
    ),
  ):
    report.emit(f'time_to_hold_{name}', **time_to_hold(flags.holds, **crowd))


if __name__ == '__main__':
  main()
