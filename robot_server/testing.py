"""An arm without dynamics and a server for it, for tests of their clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import math
import threading
import time
from typing import Callable

import numpy as np
from scipy.spatial import transform

from robot_server import app as app_lib
from robot_server import audit as audit_lib
from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import serving as serving_lib
from robot_server import watchdog as watchdog_lib

_STALE_S = 0.25
_POLL_S = 0.02
_RESET_JOINTS = (0.0, 0.0, 0.0, -1.9, 0.0, 2.0, 0.0)


class KinematicGripper:
  """A gripper that is at once where it was commanded, from 0 to 255."""

  def __init__(self):
    self.position = 0.0
    self.commands = []

  def activate(self) -> None:
    self.commands.append('activate')

  def reset(self) -> None:
    self.commands.append('reset')

  def open(self) -> None:
    self.move(0)

  def close(self) -> None:
    self.move(255)

  def move(self, position: int) -> None:
    self.commands.append(position)
    self.position = float(position)


class KinematicDriver:
  """An arm whose tool nears the commanded pose exponentially.

  A test sets `mode`, `faults`, `force`, `torque` and `silent_since` to make it
  fail, and reads `commands` and `compliance` to see what arrived.
  """

  def __init__(
    self,
    pose: Sequence[float] = (0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0),
    now: Callable[[], float] = time.monotonic,
    time_constant: float = 0.05,
  ):
    """Initialises the arm.

    Args:
      pose: [7], where the tool is at first.
      now: the arm's clock.
      time_constant: of the tool on its way to the commanded pose, s.
    """
    self.now = now
    self.gripper = KinematicGripper()
    self.compliance = {
      name: limits.default for name, limits in protocol.COMPLIANCE.items()
    }
    self.commands: list[np.ndarray] = []  # [7] each
    self.mode = 'moving'
    self.faults: tuple[str, ...] = ()
    self.force = np.zeros(3)
    self.torque = np.zeros(3)
    self.q = np.zeros(7)
    self.running = True  # the impedance controller
    self.silent_since: float | None = None  # when the states ended, s
    self.recoveries = 0
    self._time_constant = time_constant
    self._lock = threading.Lock()
    self._pose = self._target = np.array(pose, float)
    self._time = now()

  def read_state(self) -> protocol.State:
    """Returns the state of this moment."""
    with self._lock:
      now = self.now()
      if self.silent_since is not None:
        if now - self.silent_since > _STALE_S:
          raise protocol.StaleStateError(
            f'the last state is more than {_STALE_S:g} s old'
          )
        now = self.silent_since
      before, elapsed = self._pose, now - self._time
      self._advance(now)
      linear = np.zeros(3)
      if elapsed > 0:
        linear = (self._pose - before)[:3] / elapsed
      return protocol.State(
        pose=self._pose.copy(),
        vel=np.concatenate([linear, np.zeros(3)]),
        force=np.array(self.force, float),
        torque=np.array(self.torque, float),
        q=self.q.copy(),
        dq=np.zeros(7),
        jacobian=np.eye(6, 7),
        gripper_pos=self.gripper.position,
        time=now,
        mode=self.mode,
        faults=self.faults,
      )

  def read_arm(self) -> protocol.Reading:
    """Returns the arm's part of it."""
    return self.read_state().reading()

  def command_pose(self, pose: Sequence[float]) -> None:
    """Makes the tool go to `pose`, [7]."""
    with self._lock:
      if not self.running:
        raise protocol.ControllerError('the impedance controller is stopped')
      self._advance(self.now())
      self._target = np.array(pose, float)
      self.commands.append(self._target)

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    """Keeps `parameters`; they change nothing in how the tool moves."""
    self.compliance.update(parameters)

  def start_impedance(self) -> None:
    """Holds the tool where it is."""
    with self._lock:
      self._target = self._pose
      self.running = True

  def stop_impedance(self) -> None:
    """Takes no commands any more; the tool stays."""
    with self._lock:
      self._target = self._pose
      self.running = False

  def reset_joints(self) -> None:
    """Has the joints at their reset target at once."""
    self.q = np.array(_RESET_JOINTS)
    self.start_impedance()

  def clear_errors(self) -> None:
    """Ends a reflex."""
    self.recoveries += 1
    if self.mode == 'reflex':
      self.mode, self.faults = 'moving', ()

  def close(self) -> None:
    """Nothing is to be ended."""

  def _advance(self, now: float) -> None:
    """Moves the tool to where it is at `now`."""
    left = math.exp(-max(now - self._time, 0.0) / self._time_constant)
    self._time = max(now, self._time)
    if self.mode == 'reflex':
      return
    pose = self._target + (self._pose - self._target) * left
    turn = (
      transform.Rotation.from_quat(self._target[3:])
      * transform.Rotation.from_quat(self._pose[3:]).inv()
    ).as_rotvec()
    rotation = transform.Rotation.from_rotvec(
      turn * (1 - left)
    ) * transform.Rotation.from_quat(self._pose[3:])
    pose[3:] = rotation.as_quat()
    self._pose = pose


@contextlib.contextmanager
def serving(
  driver: protocol.Driver,
  limits: limits_lib.Limits | None = None,
  audit: audit_lib.AuditLog | None = None,
  token: str | None = None,
  port: int = 0,
) -> Iterator[str]:
  """Serves an arm over real HTTP from threads of this process.

  Args:
    driver: of the arm.
    limits: to keep; by default the server's own.
    audit: gets every command.
    token: to demand.
    port: on the loopback; 0 takes a free one.

  Yields:
    The server's address, 'http://127.0.0.1:PORT/', as SERL's clients want it.
  """
  governor = governor_lib.Governor(driver, limits or limits_lib.Limits(), audit)
  server = serving_lib.Server(
    app_lib.make_app(driver, governor, token), driver.now, '127.0.0.1', port
  )
  ended = threading.Event()

  def serve() -> None:
    while not ended.is_set():
      server.poll(_POLL_S)
    server.close()

  thread = threading.Thread(target=serve, name='server', daemon=True)
  thread.start()
  watchdog = watchdog_lib.Watchdog(governor)
  try:
    yield f'http://127.0.0.1:{server.port}/'
  finally:
    watchdog.close()
    ended.set()
    thread.join()
