"""Checks every command before the driver gets it, or refuses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import logging
import threading
from typing import Any, NamedTuple

import numpy as np

from robot_server import audit as audit_lib
from robot_server import gate as gate_lib
from robot_server import gripping
from robot_server import lease as lease_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import reading as reading_lib
from robot_server import recovery as recovery_lib
from robot_server import states

_log = logging.getLogger(__name__)

RefusedError = gate_lib.RefusedError

# The longest wait for a driver that may hang, s of real time: for a state (or
# the life of a command, if that is longer), and for the end of another command.
_STATE_S = 0.25
_COMMAND_S = 0.5
_HANGS = "the arm's driver does not return from a command; nothing else can"


class Sent(NamedTuple):
  """What became of a command."""

  pose: np.ndarray  # [7], what was sent to the arm
  limited_by: tuple[str, ...]  # the limits that changed it


class _Command(NamedTuple):
  pose: np.ndarray  # [7]
  time: float  # s, on the driver's clock


class Governor:
  """Keeps an arm within its limits, and holds it when commands stop.

  Its methods may be called from several threads. Those that move the arm raise
  a DriverError if it cannot, a CommandError for what makes no sense and a
  RefusedError for what must not be now; the arm does not move then.

  They take the `caller`, by default the server itself. A request that has
  waited longer than a command lives, that a later one of the same client has
  overtaken, or of a client that does not lead the arm is refused. What stops
  the arm is done for anybody, however late.
  """

  def __init__(
    self,
    driver: protocol.Driver,
    limits: limits_lib.Limits,
    audit: audit_lib.AuditLog | None = None,
  ):
    """Initialises the governor; nothing moves.

    Args:
      driver: of the arm; nobody else may command it.
      limits: to keep.
      audit: gets every command; by default it is kept in memory only.
    """
    self.limits = limits
    self.audit = audit or audit_lib.AuditLog()
    self._driver = driver
    now = lambda: driver.now()
    self._errors = audit_lib.ErrorLog(now, self.audit)
    self._gate = gate_lib.Gate(now, limits.command_ttl, self.audit)
    self._recovery = recovery_lib.Recovery(
      driver, limits, self.audit, self._errors
    )
    self._gripper = gripping.Gripping(driver, limits, self.audit, self._gate)
    patience = max(_STATE_S, limits.command_ttl)
    self._state = reading_lib.Reader(lambda: driver.read_state(), patience)
    self._arm = reading_lib.Reader(lambda: driver.read_arm(), patience)
    # Guards pose commands; slow calls do not take it.
    self._lock = threading.RLock()
    # The last pose that was sent, while nothing else moved the arm.
    self._previous: _Command | None = None
    # When the arm was last commanded to move, s, on the driver's clock: a hold
    # is no motion.
    self._moved_at = -np.inf
    self._expires = False  # the arm has to be held if no command follows
    self._changing = threading.Lock()  # guards changes of the compliance
    self._stopping = threading.Lock()  # guards requests to stop the controller

  @property
  def _held(self) -> bool:
    return self._gate.held

  @property
  def _busy(self) -> str:
    return self._gate.busy

  def read_state(self) -> protocol.State:
    """Returns the arm's newest state; a driver that hangs is not waited for.

    Raises:
      DriverError: there is none that one could act on.
    """
    return self._checked_state(self._state)

  def read_arm(self) -> protocol.Reading:
    """Returns the arm's newest reading, likewise; it needs no gripper.

    Raises:
      DriverError: there is none that one could act on.
    """
    return self._checked_reading(self._arm)

  def age_of(self, state: protocol.State) -> float:
    """Returns how old a state is, s."""
    return self._driver.now() - state.time

  def command(
    self, pose: Sequence[float], caller: lease_lib.Caller | None = None
  ) -> Sent:
    """Commands the tool's pose, within the limits.

    Args:
      pose: [7], xyz in m and quaternion xyzw, base frame.
      caller: see the class.

    Returns:
      What was sent in its place.
    """
    caller = self._gate.dated(caller)
    asked = self._checked('pose', limits_lib.check_pose, pose)
    # Another client does not wait for the one that leads.
    self._gate.demand_free('pose', caller)
    with self._alone():
      self._gate.demand_free('pose', caller)
      state = self._checked_state(self._driver.read_state)
      self._demand_able(state)
      # The driver may have taken its time to answer.
      self._gate.demand_free('pose', caller)
      moves = not limits_lib.exceeds_forces(state, self.limits)
      if moves:
        sent = self._limited(asked, state.pose)
      else:
        sent = Sent(state.pose, ('force',))
      now = self._send(sent.pose)
      if moves:
        self._moved_at = now
      self._expires, self._gripper.until = True, -np.inf
      self.audit.record(
        'pose',
        asked=asked.tolist(),
        sent=sent.pose.tolist(),
        limited_by=list(sent.limited_by),
      )
      return sent

  def set_compliance(
    self, parameters: Any, caller: lease_lib.Caller | None = None
  ) -> None:
    """Changes parameters of the impedance law, by name, within the limits."""
    caller = self._gate.dated(caller)
    checked = self._checked(
      'compliance',
      lambda given: limits_lib.check_compliance(given, self.limits),
      parameters,
    )
    self._gate.demand_free('compliance', caller)
    # One at a time: those that wait would take the threads that others need.
    with self._at_most_one(
      self._changing, 'compliance', 'the compliance is being changed'
    ):
      self._gate.demand_free('compliance', caller)
      with self._noting_errors():
        self._driver.set_compliance(checked)
      self._gate.keep_lead(caller)
    self.audit.record('compliance', **checked)

  def move_gripper(
    self, position: Any, caller: lease_lib.Caller | None = None
  ) -> None:
    """Moves the gripper to a position from 0 (open) to 255 (closed)."""
    checked = self._checked(
      'gripper', limits_lib.check_gripper_position, position
    )
    with self._noting_errors():
      self._gripper.command('move', caller, position=checked)

  def command_gripper(
    self, command: str, caller: lease_lib.Caller | None = None
  ) -> None:
    """Commands the gripper: 'activate', 'reset', 'open' or 'close'."""
    with self._noting_errors():
      self._gripper.command(command, caller)

  def reset_gripper(self, caller: lease_lib.Caller | None = None) -> None:
    """Clears the gripper's faults and activates it, unless held meanwhile."""
    self.command_gripper('reset', caller)
    # Activation moves the fingers, and the reset may have taken its time.
    self.command_gripper('activate', caller and caller._replace(came=None))

  def start_impedance(self, caller: lease_lib.Caller | None = None) -> None:
    """Starts the impedance controller; it holds the arm where it is."""
    with self._occupied('start_impedance', caller):
      self._driver.start_impedance()

  def stop_impedance(self, caller: lease_lib.Caller | None = None) -> None:
    """Stops the controller that runs, also in the midst of a joint reset."""
    self._gate.note_stop(caller)
    self._forget()
    # What is being stopped need not be stopped twice, and nothing starts then.
    with self._at_most_one(
      self._stopping, 'stop_impedance', 'the controller is being stopped'
    ), self._noting_errors():
      self._driver.stop_impedance()
    self.audit.record('stop_impedance')

  def reset_joints(self, caller: lease_lib.Caller | None = None) -> None:
    """Moves the joints to their reset target; returns when there."""
    with self._occupied('reset_joints', caller):
      # The other controller takes the arm from the last command.
      self._expires = False
      self._driver.reset_joints()

  def clear_errors(self, caller: lease_lib.Caller | None = None) -> None:
    """Recovers from a reflex, if not too many had to be of late."""
    caller = self._gate.dated(caller)
    self._gate.demand_free('clear_errors', caller)
    with self._alone():
      self._gate.demand_free('clear_errors', caller)
      mode = self._mode()
      with self._noting_errors():
        recovery_lib.demand_no_person(mode)
        self._recovery.clear_errors(mode)

  def hold(self, caller: lease_lib.Caller | None = None) -> None:
    """Holds the arm where it is and refuses what moves it, until `release`."""
    # Before the lock: a command under way sees at once that the arm is held.
    self._gate.close()
    self._gate.note_stop(caller)
    _log.warning('the arm is held')
    locked = self._lock.acquire(timeout=_STATE_S)
    try:
      busy = self._busy
      self.audit.record('hold', stops=busy)
      if not busy:
        # If this fails the watchdog tries again.
        self._previous, self._expires = None, True
        self._demand_lock(locked)
        self._hold_pose(self.read_arm)
    finally:
      if locked:
        self._lock.release()
      # A command of the gripper that has begun before ends before this returns.
      self._gripper.finish()
    if busy:
      # Another thread may stop it already.
      with contextlib.suppress(RefusedError):
        self.stop_impedance()

  def release(self, caller: lease_lib.Caller | None = None) -> None:
    """Takes commands again; the recoveries so far are forgiven."""
    caller = self._gate.dated(caller)
    with self._alone():
      self._gate.demand_young('release', caller)
      self._gate.demand_in_order('release', caller)
      with self._noting_errors():
        recovery_lib.demand_no_person(self._mode())
      self._gate.held = False
      self._recovery.forgive()
      self.audit.record('release')

  def check(self) -> None:
    """Holds the arm if its last command is too old or it meets force.

    A person's stop holds it, too: when the button is let go of nothing moves
    before somebody releases the arm. The watchdog calls it many times within
    the life of a command. It waits for a driver that hangs: `guard` notices.
    """
    if not self._held:
      self._mode(self._driver.read_arm)
    if self._held and self._busy:
      # What leads it began just as the hold came, and has not noticed.
      with self._noting_errors():
        self._driver.stop_impedance()
      return
    if self._busy == 'reset_joints' and self._meets_force():
      # Unlike the impedance controller, what leads it does not give way.
      with self._noting_errors():
        self._driver.stop_impedance()
      self.audit.record('watchdog', reason='force', stops=self._busy)
      return
    with self._lock:
      if not self._expires or self._busy:
        return
      read = lambda: self._checked_reading(self._driver.read_arm)
      # Without the lock too, an error forgets it.
      previous, ttl = self._previous, self.limits.command_ttl
      if previous is None:
        reason = 'nobody leads the arm'
      elif self._driver.now() - max(previous.time, self._gripper.until) > ttl:
        reason = f'no command within {ttl:g} s'
      elif limits_lib.exceeds_forces(read(), self.limits):
        reason = 'force'
      else:
        return
      self._hold_pose(read)
      self.audit.record('watchdog', reason=reason)

  def status(self) -> dict[str, Any]:
    """Returns how the arm and its server are, as plain data."""
    state, error = None, ''
    try:
      state = self.read_state()
    except protocol.DriverError as caught:
      error = str(caught)
    able = state is not None and state.mode in ('moving', 'other')
    return {
      'ok': able and not self._held and not self._busy,
      'driver': type(self._driver).__name__,
      'controller': self._busy or ('running' if able else error or state.mode),
      'mode': state.mode if state else None,
      'faults': list(state.faults) if state else [],
      'state_age': self.age_of(state) if state else None,
      'now': self._driver.now(),
      'held': self._held,
      'recoveries_left': self._recovery.left(),
      'last_error': self._errors.last,
      'last_commands': self.audit.last(),
      'state': state.to_json() if state else None,
    }

  def note(self, error: str) -> None:
    """Keeps an error; the same one that goes on is recorded now and then."""
    self._errors.note(error)

  def _checked(self, event: str, check: Any, value: Any) -> Any:
    """Returns `check(value)`; a refusal is recorded."""
    try:
      return check(value)
    except limits_lib.CommandError as error:
      self.audit.record(event, refused=str(error))
      raise

  def _checked_state(self, read: Callable[[], protocol.State]) -> Any:
    """Returns a state that one could act on.

    Raises:
      DriverError: there is none.
    """
    with self._noting_errors():
      state = read()
      states.check_state(state)
      self._recovery.note_mode(state.mode)
      return state

  def _checked_reading(self, read: Callable[[], protocol.Reading]) -> Any:
    """Returns a reading, likewise."""
    with self._noting_errors():
      reading = read()
      states.check_reading(reading)
      return reading

  def _mode(
    self, read: Callable[[], protocol.Reading] | None = None
  ) -> str | None:
    """Returns the arm's mode; None without a state, which others report.

    An arm that a person has stopped by its button is held from now on.
    """
    mode = None
    with contextlib.suppress(protocol.DriverError):
      mode = (read or self._arm)().mode
    if mode == 'user_stopped' and not self._held:
      self._gate.close()
      self.note('a person has stopped the arm; POST /release to go on')
    return mode

  def _meets_force(self) -> bool:
    with contextlib.suppress(protocol.DriverError):
      return limits_lib.exceeds_forces(self._driver.read_arm(), self.limits)
    return False

  def _demand_able(self, state: protocol.State) -> None:
    """Raises DriverError if the arm cannot obey; begins to recover it."""
    if state.mode not in ('moving', 'other', 'recovering'):
      self._forget()
    with self._noting_errors():
      self._recovery.demand_able(state)

  def _limited(self, asked: np.ndarray, measured: np.ndarray) -> Sent:
    """Returns the allowed pose that is nearest to the asked one, [7] both."""
    # After `command_ttl` the arm stands. Sooner, whatever else led it, a pose
    # may differ by no more than the speed allows since the arm last was
    # commanded to move.
    ttl = self.limits.command_ttl
    elapsed = max(self._driver.now() - self._moved_at, 0.0)
    previous, start = self._previous, measured
    if elapsed < ttl and previous:
      start = previous.pose
    elapsed = min(elapsed, ttl)
    return Sent(
      *limits_lib.limit_pose(asked, measured, start, elapsed, self.limits)
    )

  def _hold_pose(self, read: Callable[[], protocol.Reading]) -> None:
    """Commands the pose that the tool has, which `read` returns."""
    self._send(read().pose)
    self._expires = False

  def _send(self, pose: np.ndarray) -> float:
    """Sends a pose, [7]; returns when, s, on the driver's clock."""
    now = self._driver.now()
    with self._noting_errors():
      self._driver.command_pose(pose.tolist())
    self._previous = _Command(pose, now)
    return now

  def _forget(self) -> None:
    """Forgets the last pose that was sent: the arm is led by something else."""
    self._previous = None
    self._expires = False

  def _demand_lock(self, locked: bool) -> None:
    if not locked:
      with self._noting_errors():
        raise protocol.DriverError(_HANGS)

  @contextlib.contextmanager
  def _alone(self) -> Iterator[None]:
    """Lets no other pose be commanded meanwhile.

    Raises:
      DriverError: the driver is at another command and does not return.
    """
    self._demand_lock(self._lock.acquire(timeout=_COMMAND_S))
    try:
      yield
    finally:
      self._lock.release()

  @contextlib.contextmanager
  def _at_most_one(
    self, lock: threading.Lock, event: str, otherwise: str
  ) -> Iterator[None]:
    """Raises RefusedError while another thread is at the same."""
    if not lock.acquire(blocking=False):
      self._gate.refuse(event, 'busy', otherwise)
    try:
      yield
    finally:
      lock.release()

  @contextlib.contextmanager
  def _occupied(
    self, event: str, caller: lease_lib.Caller | None
  ) -> Iterator[None]:
    """Lets something lead the arm that takes seconds and no commands.

    While a person stops the arm nothing starts, and what has started is
    stopped: it would move the arm when the stop is let go of.

    Args:
      event: what that is.
      caller: see the class.
    """
    caller = self._gate.dated(caller)
    with self._alone():
      self._gate.demand_free(event, caller)
      with self._noting_errors():
        recovery_lib.demand_no_person(self._mode())
      if self._stopping.locked():
        self._gate.refuse(event, 'busy', 'the controller is being stopped')
      self._gate.busy = event
      self._previous = None
    try:
      with self._noting_errors():
        yield
        mode = self._mode()
        if mode in recovery_lib.BY_A_PERSON:
          self._driver.stop_impedance()
        recovery_lib.demand_no_person(mode)
      self.audit.record(event)
    finally:
      self._gate.keep_lead(caller)
      self._gate.busy = ''

  @contextlib.contextmanager
  def _noting_errors(self) -> Iterator[None]:
    """Keeps the driver's last error for the status, and logs a new one."""
    try:
      yield
    except protocol.DriverError as error:
      self.note(f'{error.kind}: {error}')
      # The controller may be another one when it answers again.
      self._previous = None
      raise
