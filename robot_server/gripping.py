"""Commands of the gripper: one after another, and none once the arm is held."""

from __future__ import annotations

import threading

from robot_server import audit as audit_lib
from robot_server import gate as gate_lib
from robot_server import lease as lease_lib
from robot_server import limits as limits_lib
from robot_server import protocol

# The longest wait for a gripper's driver that may hang, s of real time: of the
# next command, and of a hold.
_COMMAND_S = 0.5
_HOLD_S = 0.1


class Gripping:
  """Lets clients that lead the arm command its gripper.

  The methods may be called from several threads. A client that waits for the
  fingers still leads the arm: `until` is how long, s, on the driver's clock.
  """

  def __init__(
    self,
    driver: protocol.Driver,
    limits: limits_lib.Limits,
    audit: audit_lib.AuditLog,
    gate: gate_lib.Gate,
  ):
    """Initialises it; nothing moves.

    Args:
      driver: has the gripper.
      limits: say how long a client may wait for the fingers.
      audit: gets the commands.
      gate: refuses those that must not be now.
    """
    self.until = float('-inf')
    self._driver = driver
    self._seconds = limits.gripper_seconds
    self._audit = audit
    self._gate = gate
    # Reentrant: the gripper's driver may be what holds the arm.
    self._lock = threading.RLock()

  def command(
    self, command: str, caller: lease_lib.Caller | None, **arguments: int
  ) -> None:
    """Gives a command.

    Args:
      command: a method of `protocol.Gripper`.
      caller: commands it.
      **arguments: of the method.

    Raises:
      RefusedError, DriverError: see `governor.Governor`.
    """
    caller = self._gate.dated(caller)
    self._gate.demand_free('gripper', caller, self._seconds)
    if not self._lock.acquire(timeout=_COMMAND_S):
      raise protocol.GripperError(
        "the gripper's driver does not return from a command"
      )
    try:
      act = getattr(self._driver.gripper, command)
      # The command before may have taken its time.
      self._gate.demand_free('gripper', caller, self._seconds)
      # A hold that comes later than this waits for the command to be given.
      self._gate.demand_not_held('gripper')
      act(*arguments.values())
      self.until = self._driver.now() + self._seconds
      self._gate.keep_lead(caller, self._seconds)
      self._audit.record('gripper', command=command, **arguments)
    finally:
      self._lock.release()

  def finish(self) -> None:
    """Returns when no command is being given, or its driver hangs."""
    if self._lock.acquire(timeout=_HOLD_S):
      self._lock.release()
