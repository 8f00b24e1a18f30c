"""Whether a request may be executed now: the arm is free, the caller leads."""

from __future__ import annotations

from typing import Callable

from robot_server import audit as audit_lib
from robot_server import lease as lease_lib


class RefusedError(RuntimeError):
  """A sensible command that must not be executed now; `kind` says why."""

  def __init__(self, kind: str, message: str):
    super().__init__(message)
    self.kind = kind


class Gate:
  """Refuses what must not be now, and records that.

  `held` is whether the arm is held, `busy` what it does that takes no commands.
  The methods may be called from several threads and wait for nothing.
  """

  def __init__(
    self, now: Callable[[], float], ttl: float, audit: audit_lib.AuditLog
  ):
    """Initialises the gate; it is open and nobody leads.

    Args:
      now: the driver's clock, s.
      ttl: the life of a command, s.
      audit: gets what is refused.
    """
    self.held = False
    self.busy = ''
    self._now = now
    self._ttl = ttl
    self._audit = audit
    self._lease = lease_lib.Lease()
    self._order = lease_lib.Order(ttl)

  def close(self) -> None:
    """Holds the arm: the gate is closed until `held` is reset; nobody leads."""
    self.held = True
    self._lease.end()

  def dated(self, caller: lease_lib.Caller | None) -> lease_lib.Caller:
    """Returns the caller with the time at which its request came."""
    caller = caller or lease_lib.Caller()
    if caller.came is None:
      caller = caller._replace(came=self._now())
    return caller

  def refuse(self, event: str, kind: str, reason: str) -> None:
    """Raises a RefusedError for a command, and records it."""
    self._audit.record(event, refused=reason)
    raise RefusedError(kind, reason)

  def demand_free(
    self, event: str, caller: lease_lib.Caller, seconds: float = 0.0
  ) -> None:
    """Raises RefusedError if the arm takes no commands now, or not this one.

    The caller leads the arm afterwards.

    Args:
      event: the command.
      caller: with the time at which the command came.
      seconds: that the command needs beyond the life of one.
    """
    self.demand_not_held(event)
    if self.busy:
      self.refuse(event, 'busy', f'the arm is busy with {self.busy}')
    self.demand_young(event, caller)
    why_not = self.keep_lead(caller, seconds)
    if why_not:
      self.refuse(event, 'led', why_not)
    self.demand_in_order(event, caller)

  def demand_not_held(self, event: str) -> None:
    """Raises RefusedError while the arm is held."""
    if self.held:
      self.refuse(event, 'held', 'the arm is held; POST /release to go on')

  def demand_young(self, event: str, caller: lease_lib.Caller) -> None:
    """Raises RefusedError for a command that nobody means any more.

    That is what waited behind a driver that did not answer.
    """
    age = self._now() - caller.came
    if age > self._ttl:
      self.refuse(
        event,
        'late',
        f'it waited {age:.2f} s for the arm, longer than the {self._ttl:g} s '
        'that a command counts; send again',
      )

  def demand_in_order(self, event: str, caller: lease_lib.Caller) -> None:
    """Raises RefusedError for a command that a later one has overtaken."""
    newer = self._order.overtaken_by(caller, self._now())
    if newer:
      self.refuse(
        event,
        'late',
        f'a request that this client sent {newer:.3f} s later came before it',
      )

  def note_stop(self, caller: lease_lib.Caller | None) -> None:
    """Makes what the caller has sent before a stop come too late after it."""
    if caller is not None:
      self._order.overtaken_by(caller, self._now())

  def keep_lead(self, caller: lease_lib.Caller, seconds: float = 0.0) -> str:
    """Gives the caller the lead of the arm; returns why not, or ''.

    Args:
      caller: commands the arm.
      seconds: that it leads beyond the life of a command.
    """
    return self._lease.take(caller.client, self._now(), self._ttl + seconds)
