"""The last instance before the arm: every command passes here or is refused."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
import contextlib
import logging
import threading
from typing import Any, NamedTuple

import numpy as np

from robot_server import audit as audit_lib
from robot_server import limits as limits_lib
from robot_server import protocol

_log = logging.getLogger(__name__)

# An error that goes on is recorded again after, s.
_REPEAT_S = 5.0
# That the arm gets to recover until it is told again, s.
_RECOVERY_S = 1.0


class RefusedError(RuntimeError):
  """A sensible command that must not be executed now; `kind` says why."""

  def __init__(self, kind: str, message: str):
    super().__init__(message)
    self.kind = kind


class Sent(NamedTuple):
  """What became of a command."""

  pose: np.ndarray  # [7], what was sent to the arm
  limited_by: tuple[str, ...]  # the limits that changed it


class _Command(NamedTuple):
  pose: np.ndarray  # [7]
  time: float  # s, on the driver's clock


class Governor:
  """Keeps an arm within its limits, and holds it when nobody leads it.

  Its methods may be called from several threads. Those that move the arm raise
  a DriverError if it cannot, a CommandError for what makes no sense and a
  RefusedError for what must not be now; the arm does not move then.

  They take `came`: when somebody asked for it, s on the driver's clock; by
  default now. What has waited longer than a command lives is refused.
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
    # Whoever commands the tool's pose has it. What may take long does without:
    # the watchdog and a hold must not wait for it.
    self._lock = threading.RLock()
    # The last pose that was sent, while nothing else moved the arm.
    self._previous: _Command | None = None
    self._sent_at = -np.inf  # when any was, s, on the driver's clock
    self._recovering_until = -np.inf  # s, before which it is not told again
    self._expires = False  # the arm has to be held if no command follows
    self._held = False
    self._changing = threading.Lock()  # who changes the compliance has it
    self._busy = ''  # what the arm does that takes no commands
    self._recoveries: collections.deque[float] = collections.deque()
    self._last_error = ''
    self._noted = -np.inf  # when it was recorded, s, on the driver's clock

  def read_state(self) -> protocol.State:
    """Returns the arm's newest state.

    Raises:
      DriverError: there is none that one could act on.
    """
    with self._noting_errors():
      state = self._driver.read_state()
      _demand_finite(
        state.pose,
        state.vel,
        state.force,
        state.torque,
        state.q,
        state.dq,
        state.jacobian,
      )
      if state.mode not in (*protocol.STOPPED, 'recovering'):
        # The next reflex is another one.
        self._recovering_until = -np.inf
      return state

  def read_arm(self) -> protocol.Reading:
    """Returns the arm's newest reading; it needs no gripper.

    Raises:
      DriverError: there is none that one could act on.
    """
    with self._noting_errors():
      reading = self._driver.read_arm()
      _demand_finite(reading.pose, reading.force, reading.torque)
      return reading

  def age_of(self, state: protocol.State) -> float:
    """Returns how old a state is, s."""
    return self._driver.now() - state.time

  def command(self, pose: Sequence[float], came: float | None = None) -> Sent:
    """Commands the tool's pose, within the limits.

    Args:
      pose: [7], xyz in m and quaternion xyzw, base frame.
      came: see the class.

    Returns:
      What was sent in its place.
    """
    came = self._driver.now() if came is None else came
    with self._lock:
      asked = self._checked('pose', limits_lib.check_pose, pose)
      self._demand_free('pose', came)
      state = self.read_state()
      self._demand_able(state)
      # The driver may have taken its time to answer.
      self._demand_free('pose', came)
      if limits_lib.exceeds_forces(state, self.limits):
        sent = Sent(state.pose, ('force',))
      else:
        # After `command_ttl` the arm stands. Sooner, whatever else led it, a
        # pose may differ by no more than the speed allows in that time.
        elapsed = max(self._driver.now() - self._sent_at, 0.0)
        previous, start = self._previous, state.pose
        if elapsed < self.limits.command_ttl and previous:
          start = previous.pose
        elapsed = min(elapsed, self.limits.command_ttl)
        sent = Sent(
          *limits_lib.limit_pose(asked, state.pose, start, elapsed, self.limits)
        )
      self._send(sent.pose)
      self._expires = True
      self.audit.record(
        'pose',
        asked=asked.tolist(),
        sent=sent.pose.tolist(),
        limited_by=list(sent.limited_by),
      )
      return sent

  def set_compliance(self, parameters: Any, came: float | None = None) -> None:
    """Changes parameters of the impedance law, by name, within the limits."""
    checked = self._checked(
      'compliance',
      lambda given: limits_lib.check_compliance(given, self.limits),
      parameters,
    )
    self._demand_free('compliance', came)
    # One at a time: those that wait would take the threads that a hold needs.
    if not self._changing.acquire(blocking=False):
      error = RefusedError('busy', 'the compliance is being changed')
      self.audit.record('compliance', refused=str(error))
      raise error
    try:
      with self._noting_errors():
        self._driver.set_compliance(checked)
    finally:
      self._changing.release()
    self.audit.record('compliance', **checked)

  def move_gripper(self, position: Any, came: float | None = None) -> None:
    """Moves the gripper to a position from 0 (open) to 255 (closed)."""
    checked = self._checked(
      'gripper', limits_lib.check_gripper_position, position
    )
    self._demand_free('gripper', came)
    with self._noting_errors():
      self._driver.gripper.move(checked)
    self.audit.record('gripper', command='move', position=checked)

  def command_gripper(self, command: str, came: float | None = None) -> None:
    """Commands the gripper: 'activate', 'reset', 'open' or 'close'."""
    self._demand_free('gripper', came)
    with self._noting_errors():
      getattr(self._driver.gripper, command)()
    self.audit.record('gripper', command=command)

  def reset_gripper(self, came: float | None = None) -> None:
    """Clears the gripper's faults and activates it, unless held meanwhile."""
    self.command_gripper('reset', came)
    # Activation moves the fingers, and the reset may have taken its time.
    self.command_gripper('activate')

  def start_impedance(self, came: float | None = None) -> None:
    """Starts the impedance controller; it holds the arm where it is."""
    with self._occupied('start_impedance', came):
      self._driver.start_impedance()

  def stop_impedance(self) -> None:
    """Stops the controller that runs, also in the midst of a joint reset."""
    self._forget()
    with self._noting_errors():
      self._driver.stop_impedance()
    self.audit.record('stop_impedance')

  def reset_joints(self, came: float | None = None) -> None:
    """Moves the joints to their reset target; returns when there."""
    with self._occupied('reset_joints', came):
      # The other controller takes the arm from the last command.
      self._expires = False
      self._driver.reset_joints()

  def clear_errors(self, came: float | None = None) -> None:
    """Recovers from a reflex, if not too many had to be of late."""
    came = self._driver.now() if came is None else came
    with self._lock:
      self._demand_free('clear_errors', came)
      state = None
      with contextlib.suppress(protocol.DriverError):
        # Without a state one cannot tell; then it counts as a recovery.
        state = self._driver.read_arm()
      stopped = state is None or state.mode in protocol.STOPPED
      if stopped and not self._is_recovering():
        self._recover()
        return
      # No error, or one that is being recovered from: no further recovery.
      with self._noting_errors():
        self._driver.clear_errors()

  def hold(self) -> None:
    """Holds the arm where it is and refuses what moves it, until `release`."""
    # Before the lock: who has it sees at once that the arm is held.
    self._held = True
    _log.warning('the arm is held')
    with self._lock:
      busy = self._busy
      self.audit.record('hold', stops=busy)
      if not busy:
        # If this fails the watchdog tries again.
        self._previous, self._expires = None, True
        self._hold_pose()
    if busy:
      self.stop_impedance()

  def release(self, came: float | None = None) -> None:
    """Takes commands again; the recoveries so far are forgiven."""
    came = self._driver.now() if came is None else came
    with self._lock:
      self._demand_young('release', came)
      self._held = False
      self._recoveries.clear()
      self.audit.record('release')

  def check(self) -> None:
    """Holds the arm if its last command is too old or it meets force.

    A person's stop holds it, too: when the button is let go of nothing moves
    before somebody releases the arm. The watchdog calls it many times within
    the life of a command.
    """
    self._heed_stop()
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
      # Without the lock too, whoever meets an error forgets it.
      previous = self._previous
      if previous is None:
        reason = 'nobody leads the arm'
      elif self._driver.now() - previous.time > self.limits.command_ttl:
        reason = f'no command within {self.limits.command_ttl:g} s'
      elif limits_lib.exceeds_forces(self.read_arm(), self.limits):
        reason = 'force'
      else:
        return
      self._hold_pose()
      self.audit.record('watchdog', reason=reason)

  def _heed_stop(self) -> None:
    """Holds an arm that a person has stopped by its button."""
    if self._held:
      return
    # Who has no state has nothing to heed, and is told so elsewhere.
    with contextlib.suppress(protocol.DriverError):
      if self._driver.read_arm().mode == 'user_stopped':
        self._held = True
        self.note('a person has stopped the arm; POST /release to go on')

  def _meets_force(self) -> bool:
    with contextlib.suppress(protocol.DriverError):
      return limits_lib.exceeds_forces(self._driver.read_arm(), self.limits)
    return False

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
      'recoveries_left': self.limits.max_recoveries - self._count_recoveries(),
      'last_error': self._last_error,
      'last_commands': self.audit.last(),
      'state': state.to_json() if state else None,
    }

  def note(self, error: str) -> None:
    """Keeps an error; the same one that goes on is recorded now and then."""
    now = self._driver.now()
    if error != self._last_error or now - self._noted > _REPEAT_S:
      _log.error('%s', error)
      self.audit.record('error', error=error)
      self._noted = now
    self._last_error = error

  def _checked(self, event: str, check: Any, value: Any) -> Any:
    """Returns `check(value)`; a refusal is recorded."""
    try:
      return check(value)
    except limits_lib.CommandError as error:
      self.audit.record(event, refused=str(error))
      raise

  def _demand_free(self, event: str, came: float | None) -> None:
    """Raises RefusedError if the arm takes no commands now, or not this one.

    Args:
      event: what was asked for.
      came: when; None is now.
    """
    if self._held:
      error = RefusedError('held', 'the arm is held; POST /release to go on')
    elif self._busy:
      error = RefusedError('busy', f'the arm is busy with {self._busy}')
    else:
      self._demand_young(event, came)
      return
    self.audit.record(event, refused=str(error))
    raise error

  def _demand_young(self, event: str, came: float | None) -> None:
    """Raises RefusedError if somebody asked so long ago that nobody means it.

    That is what waited behind a driver that did not answer.

    Args:
      event: what was asked for.
      came: when; None is now.
    """
    age = 0.0 if came is None else self._driver.now() - came
    if age <= self.limits.command_ttl:
      return
    error = RefusedError(
      'late',
      f'it waited {age:.2f} s for the arm, longer than the '
      f'{self.limits.command_ttl:g} s that a command counts; send again',
    )
    self.audit.record(event, refused=str(error))
    raise error

  def _demand_able(self, state: protocol.State) -> None:
    """Raises DriverError if the arm cannot obey; begins to recover it."""
    faults = ', '.join(state.faults) or 'no fault is named'
    if state.mode in ('user_stopped', 'guiding'):
      self._forget()
      with self._noting_errors():
        raise protocol.UserStopError(
          f'the arm is {state.mode}: release the stop and the guiding button'
        )
    if state.mode == 'idle':
      self._forget()
      with self._noting_errors():
        raise protocol.ControllerError(
          'the arm is idle, no controller moves it; POST /clearerr and '
          '/startimp'
        )
    if state.mode == 'reflex':
      self._forget()
      self._recover()
      with self._noting_errors():
        raise protocol.ReflexError(
          f'the arm stopped itself ({faults}); it is being recovered, send '
          'again'
        )
    if state.mode == 'recovering':
      with self._noting_errors():
        raise protocol.ReflexError('the arm is recovering; send again')

  def _recover(self) -> None:
    """Clears the arm's errors, or refuses to if that was needed too often."""
    if self._is_recovering():
      return
    now = self._driver.now()
    if self._count_recoveries() >= self.limits.max_recoveries:
      error = RefusedError(
        'recovery_limit',
        f'{self.limits.max_recoveries} recoveries within '
        f'{self.limits.recovery_window:g} s; look at the arm, then POST '
        '/release',
      )
      self.note(f'{error.kind}: {error}')
      raise error
    self._recoveries.append(now)
    self._recovering_until = now + _RECOVERY_S
    _log.warning('recovering from a reflex')
    with self._noting_errors():
      self._driver.clear_errors()
    self.audit.record('recovery', number=len(self._recoveries))

  def _is_recovering(self) -> bool:
    """Returns whether the arm was told to recover a moment ago."""
    return self._driver.now() < self._recovering_until

  def _count_recoveries(self) -> int:
    """Returns how many there were within the window."""
    with self._lock:
      oldest = self._driver.now() - self.limits.recovery_window
      while self._recoveries and self._recoveries[0] < oldest:
        self._recoveries.popleft()
      return len(self._recoveries)

  def _hold_pose(self) -> None:
    """Commands the pose that the tool has."""
    self._send(self.read_arm().pose)
    self._expires = False

  def _send(self, pose: np.ndarray) -> None:
    now = self._driver.now()
    with self._noting_errors():
      self._driver.command_pose(pose.tolist())
    self._previous, self._sent_at = _Command(pose, now), now

  def _forget(self) -> None:
    """Forgets the last pose that was sent: the arm is led by something else."""
    self._previous = None
    self._expires = False

  @contextlib.contextmanager
  def _occupied(self, event: str, came: float | None) -> Iterator[None]:
    """Lets something lead the arm that takes seconds and no commands.

    Args:
      event: what that is.
      came: when it was asked for; None is now.
    """
    came = self._driver.now() if came is None else came
    with self._lock:
      self._demand_free(event, came)
      self._busy = event
      self._previous = None
    try:
      with self._noting_errors():
        yield
      self.audit.record(event)
    finally:
      self._busy = ''

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


def _demand_finite(*arrays: np.ndarray) -> None:
  if not all(np.all(np.isfinite(array)) for array in arrays):
    raise protocol.DriverError(
      'the state of the arm is not finite; its driver is broken'
    )
