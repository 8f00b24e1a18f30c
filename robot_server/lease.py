"""Which client leads the arm, and in which order its requests were sent."""

from __future__ import annotations

import collections
import threading
from typing import Any, NamedTuple

# Clients of which the last request's time is kept.
_CLIENTS = 64


class Client(NamedTuple):
  """A client, as far as the server can tell one from another.

  Two clients at one address are told apart by their names. Without names they
  are by their connections, as long as these are open: one whose last connection
  is closed may have opened the next.
  """

  address: str
  name: str | None = None  # of the header `protocol.CLIENT`
  connection: Any = None  # has `is_open()`; compares by identity

  @property
  def key(self) -> tuple[str, str | None]:
    """What stays when the client opens another connection."""
    return self.address, self.name

  def is_same(self, other: Client) -> bool:
    """Returns whether a request of `self` may be one of the earlier `other`."""
    if self.key != other.key:
      return False
    return bool(
      self.name
      or self.connection is other.connection
      or other.connection is None
      or not other.connection.is_open()
    )

  def __str__(self) -> str:
    return f'{self.name} at {self.address}' if self.name else self.address


class Caller(NamedTuple):
  """A request, as far as it matters whose it is and of when."""

  client: Client | None = None  # None is the server, which needs no lease
  # When it had arrived, or was sent if that is earlier, s on the driver's
  # clock; None is now.
  came: float | None = None
  sent: float | None = None  # by the header `protocol.SENT`, likewise


class Lease:
  """Lets one client at a time lead the arm.

  The client that has commanded last holds the lease until it expires. The
  methods may be called from several threads.
  """

  def __init__(self):
    """Initialises the lease; nobody holds it."""
    self._lock = threading.Lock()
    self._leader: Client | None = None
    self._taken = 0.0  # s, on the driver's clock
    self._until = 0.0  # likewise

  def take(self, client: Client | None, now: float, seconds: float) -> str:
    """Gives the lease to a client, or prolongs it.

    Args:
      client: wants to command; None is the server itself.
      now: s, on the driver's clock.
      seconds: until the lease expires.

    Returns:
      Why another client has it; '' if `client` holds it now.
    """
    if client is None:
      return ''
    with self._lock:
      leader = self._leader
      if leader and now <= self._until and not client.is_same(leader):
        return (
          f'another client, {leader}, leads the arm: it commanded '
          f'{now - self._taken:.2f} s ago and leads for '
          f'{self._until - now:.2f} s more if it sends no further command'
        )
      self._leader, self._taken, self._until = client, now, now + seconds
      return ''

  def end(self) -> None:
    """Lets the next client that commands lead."""
    with self._lock:
      self._leader = None


class Order:
  """Finds requests that were sent before others of the same client that came.

  The methods may be called from several threads.
  """

  def __init__(self, memory: float):
    """Initialises the order.

    Args:
      memory: how long a request is remembered, s. A client whose clock was set
        back is refused for so long.
    """
    self._memory = memory
    self._lock = threading.Lock()
    # By client: when the newest was sent, by its clock, and when it came.
    self._newest: collections.OrderedDict[
      tuple[str, str | None], tuple[float, float]
    ] = collections.OrderedDict()

  def overtaken_by(self, caller: Caller, now: float) -> float:
    """Notes a request.

    Returns:
      By how many s a request that has come already was sent later; else 0.
    """
    if caller.client is None or caller.sent is None:
      return 0.0
    key = caller.client.key
    with self._lock:
      sent, came = self._newest.get(key, (caller.sent, now))
      if caller.sent < sent and now - came <= self._memory:
        return sent - caller.sent
      self._newest[key] = caller.sent, now
      self._newest.move_to_end(key)
      while len(self._newest) > _CLIENTS:
        self._newest.popitem(last=False)
      return 0.0
