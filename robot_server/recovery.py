"""What an arm may be asked in each of its modes, and recoveries from errors."""

from __future__ import annotations

import logging
import threading

from robot_server import audit as audit_lib
from robot_server import gate as gate_lib
from robot_server import limits as limits_lib
from robot_server import protocol

_log = logging.getLogger(__name__)

# That the arm gets to recover until it is asked again, s.
_RECOVERY_S = 1.0
# The modes in which a person stops the arm or moves it by hand.
BY_A_PERSON = ('user_stopped', 'guiding')


class Recovery:
  """Refuses commands to an arm that cannot obey, and recovers it from reflexes.

  The methods may be called from several threads.
  """

  def __init__(
    self,
    driver: protocol.Driver,
    limits: limits_lib.Limits,
    audit: audit_lib.AuditLog,
    errors: audit_lib.ErrorLog,
  ):
    """Initialises the recovery; nothing is recovered from so far.

    Args:
      driver: of the arm.
      limits: say how often within which time.
      audit: gets each recovery.
      errors: gets why a command is refused.
    """
    self._driver = driver
    self._limit = limits.max_recoveries
    self._window = limits.recovery_window
    self._audit = audit
    self._errors = errors
    self._lock = threading.Lock()
    self._times: tuple[float, ...] = ()  # s, on the driver's clock
    self._until = float('-inf')  # s, before which the arm is recovering

  def left(self) -> int:
    """Returns how many more are allowed; it waits for nothing."""
    return self._limit - len(self._within(self._driver.now()))

  def forgive(self) -> None:
    """Forgets the recoveries so far."""
    with self._lock:
      self._times = ()

  def note_mode(self, mode: str) -> None:
    """Notes the mode of a new state: an error after others is another one."""
    if mode not in (*protocol.STOPPED, 'recovering'):
      self._until = float('-inf')

  def demand_able(self, state: protocol.State) -> None:
    """Raises DriverError if the arm cannot obey; begins to recover it."""
    faults = ', '.join(state.faults) or 'no fault is named'
    demand_no_person(state.mode)
    if state.mode == 'idle':
      raise protocol.ControllerError(
        'the arm is idle, no controller moves it; POST /clearerr and /startimp'
      )
    if state.mode == 'reflex':
      self._recover()
      raise protocol.ReflexError(
        f'the arm stopped itself ({faults}); it is being recovered, send again'
      )
    if state.mode == 'recovering':
      raise protocol.ReflexError('the arm is recovering; send again')

  def clear_errors(self, mode: str | None) -> None:
    """Clears the arm's errors.

    Args:
      mode: the arm's. Without one nobody knows, and it counts as a recovery.
    """
    stopped = mode is None or mode in protocol.STOPPED
    if stopped and not self._is_recovering():
      self._recover()
    else:
      # No error, or one that is being recovered from: no further recovery.
      self._driver.clear_errors()

  def _recover(self) -> None:
    """Clears the arm's errors, or refuses to if that was needed too often."""
    if self._is_recovering():
      return
    now = self._driver.now()
    with self._lock:
      times = self._within(now)
      allowed = len(times) < self._limit
      if allowed:
        self._times = (*times, now)
        self._until = now + _RECOVERY_S
    if not allowed:
      error = gate_lib.RefusedError(
        'recovery_limit',
        f'{self._limit} recoveries within {self._window:g} s; look at the arm, '
        'then POST /release',
      )
      self._errors.note(f'{error.kind}: {error}')
      raise error
    _log.warning('recovering from a reflex')
    self._driver.clear_errors()
    self._audit.record('recovery', number=len(times) + 1)

  def _is_recovering(self) -> bool:
    """Returns whether a recovery began a moment ago."""
    return self._driver.now() < self._until

  def _within(self, now: float) -> tuple[float, ...]:
    return tuple(time for time in self._times if time >= now - self._window)


def demand_no_person(mode: str | None) -> None:
  """Raises UserStopError if a person stops the arm, or moves it by hand."""
  if mode in BY_A_PERSON:
    raise protocol.UserStopError(
      f'the arm is {mode}: release the stop and the guiding button'
    )
