"""An arm behind the real server in a process of its own, and what besets it."""

import collections
from collections.abc import Sequence
import contextlib
import http.client
import json
import logging
import multiprocessing
from multiprocessing import connection as connection_lib
import resource
import select
import socket
import threading
from urllib import parse

import numpy as np
from scipy.spatial import transform

from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import testing
from serl.environments.franka import robot as robot_lib

HOME = (0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)
JSON = 'application/json'
TIMEOUT_S = 20.0

_LIMITS = limits_lib.Limits()
_WINDOW_S = 0.5
_TOLERANCE = 1e-6  # m, rad
# Of a scheduler: the clock is read before a command is sent.
_JITTER_S = 0.05
# In which a tenth of the connections may be opened anew.
_CROWD_S = 0.1


class _Arm(testing.KinematicDriver):
  """Keeps what it is sent: when, from where and where to."""

  def __init__(self):
    super().__init__()
    self.sent = []

  def command_pose(self, pose: Sequence[float]) -> None:
    now, measured = self.now(), self.read_arm().pose
    # An arm without a controller does not take it.
    super().command_pose(pose)
    self.sent.append((now, measured, np.array(pose)))


def motions_outside(
  sent: Sequence[tuple[float, np.ndarray, np.ndarray]],
) -> dict[str, int]:
  """Returns how many commands went beyond which limit.

  Args:
    sent: of each command the time, the measured and the commanded pose, [7].
  """
  counts = collections.Counter()
  travel = collections.deque()
  last = None
  allowed = _LIMITS.max_speed * (_WINDOW_S + _LIMITS.command_ttl + _JITTER_S)
  upright = transform.Rotation.from_quat(_LIMITS.orientation)
  for now, measured, pose in sent:
    outside = np.maximum(
      np.subtract(_LIMITS.box_low, pose[:3]),
      np.subtract(pose[:3], _LIMITS.box_high),
    ).max()
    counts['box'] += outside > _TOLERANCE
    turned = (
      transform.Rotation.from_quat(pose[3:]) * upright.inv()
    ).magnitude()
    counts['rotation'] += turned > _LIMITS.max_rotation + _TOLERANCE
    step = np.linalg.norm((pose - measured)[:3])
    # The arm has moved on between the governor's look and this one.
    margin = _LIMITS.max_speed * _JITTER_S
    counts['step'] += step > _LIMITS.max_step + margin
    is_hold = step < 1e-3
    if not is_hold:
      # It leads on from the command before or, after an error, from the arm.
      starts = [measured] if last is None else [measured, last]
      way = min(np.linalg.norm((pose - start)[:3]) for start in starts)
      travel.append((now, way))
    while travel and travel[0][0] < now - _WINDOW_S:
      travel.popleft()
    counts['speed'] += sum(way for _, way in travel) > allowed
    last = pose
  return {name: int(count) for name, count in counts.items() if count}


def _serve(pipe: connection_lib.Connection, seed: int) -> None:
  """Serves an arm that fares badly; answers each message with what it did."""
  logging.disable()
  # It stands for one on another computer.
  robot_lib.take_precedence()
  rng = np.random.default_rng(seed)
  arm, ended = _Arm(), threading.Event()
  fares_badly = threading.Event()

  def fare() -> None:
    while not ended.wait(rng.uniform(0.02, 0.2)):
      chance = rng.random() if fares_badly.is_set() else 1.0
      arm.force = np.array([0, 0, -100.0 if chance < 0.1 else 0.0])
      if chance < 0.2 and arm.mode == 'moving':
        arm.mode = rng.choice(['reflex', 'user_stopped', 'guiding', 'idle'])
      elif arm.mode != 'reflex' or chance == 1.0:
        arm.mode = 'moving'

  thread = threading.Thread(target=fare, daemon=True)
  thread.start()
  with testing.serving(arm) as url:
    pipe.send(url)
    while (asked := pipe.recv()) != 'end':
      if asked == 'fare badly':
        fares_badly.set()
      elif asked == 'fare well':
        fares_badly.clear()
      sent, arm.sent = arm.sent, []
      pipe.send((len(sent), len(arm.gripper.commands), motions_outside(sent)))
  ended.set()


@contextlib.contextmanager
def server(seed: int):
  """Yields the server's address and what asks its process."""
  context = multiprocessing.get_context('spawn')
  here, there = context.Pipe()
  process = context.Process(target=_serve, args=(there, seed), daemon=True)
  process.start()

  def control(text: str):
    here.send(text)
    return here.recv()

  address = parse.urlsplit(here.recv())
  try:
    yield (address.hostname, address.port), control
  finally:
    here.send('end')
    process.join(10)


def ask(
  address: tuple[str, int],
  method: str,
  path: str,
  body: bytes | None = None,
  headers: dict[str, str] | None = None,
) -> int:
  """Returns the status of an answer; 0 without one."""
  client = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
  try:
    client.request(method, path, body, headers or {})
    response = client.getresponse()
    response.read()
    return response.status
  except (OSError, http.client.HTTPException):
    return 0
  finally:
    client.close()


def _crowd(
  pipe: connection_lib.Connection,
  address: tuple[str, int],
  count: int,
  addresses: int,
  sends: bytes,
) -> None:
  """Keeps connections open, and opens those anew that are closed."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  with contextlib.suppress(ValueError):
    most = max(soft, min(hard, count + 100))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

  def connect(number: int) -> socket.socket | None:
    with contextlib.suppress(OSError):
      source = (f'127.0.0.{2 + number % addresses}', 0)
      opened = socket.create_connection(address, TIMEOUT_S, source)
      opened.sendall(sends)
      return opened
    return None

  opened = [connect(number) for number in range(count)]
  pipe.send(sum(each is not None for each in opened))
  while not pipe.poll(_CROWD_S):
    watch = select.poll()
    numbers = {each.fileno(): n for n, each in enumerate(opened) if each}
    for descriptor in numbers:
      watch.register(descriptor, select.POLLIN)
    for descriptor, _ in watch.poll(0)[: count // 10]:
      number = numbers[descriptor]
      opened[number].close()
      opened[number] = connect(number)


@contextlib.contextmanager
def crowded(address: tuple[str, int], count: int, addresses: int, sends: bytes):
  """Yields how many connections there were at once."""
  context = multiprocessing.get_context('spawn')
  here, there = context.Pipe()
  args = (there, address, count, addresses, sends)
  process = context.Process(target=_crowd, args=args, daemon=True)
  process.start()
  try:
    yield here.recv()
  finally:
    here.send('end')
    process.join(10)


def lead(address: tuple[str, int], ended: threading.Event) -> None:
  """Leads the arm to and fro, 50 times a second, over one connection."""
  client = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
  headers = {'Content-Type': JSON, protocol.CLIENT: 'leader'}
  number = 0
  while not ended.wait(0.02):
    number += 1
    x = 0.5 + 0.1 * np.sin(number / 20)
    try:
      client.request(
        'POST', '/pose', json.dumps({'arr': [x, *HOME[1:]]}), headers
      )
      client.getresponse().read()
    except (OSError, http.client.HTTPException):
      client.close()
  client.close()
