"""Ports and hosts, checked before anything listens on or looks for them."""

import ipaddress
import re
import socket
from typing import Annotated

from serl import configs

_LAST = 65535
_LABEL = re.compile(r'(?!-)[A-Za-z0-9_-]{1,63}(?<!-)')


def check_ports(first: int, count: int, name: str) -> None:
  """Checks that `count` ports from `first` on exist.

  Args:
    first: the first port.
    count: how many there are, one after another.
    name: of the flag or field that sets `first`, for the message.

  Raises:
    ValueError: one of them is not in 1..65535, or `first` is no integer.
  """
  if isinstance(first, bool) or not isinstance(first, int):
    raise ValueError(f'{name} is {first!r}, expected an integer.')
  if 1 <= first <= _LAST + 1 - count:
    return
  needs = f', since it and the next {count - 1} are used' if count > 1 else ''
  raise ValueError(
    f'{name} is {first}, expected 1 to {_LAST + 1 - count}{needs}.'
  )


def is_host(host: str) -> bool:
  """Returns whether a text is a host's name or an IP address alone."""
  bracketed = re.fullmatch(r'\[(.*:.*)\]', host)
  try:
    ipaddress.ip_address(bracketed[1] if bracketed else host)
    return True
  except ValueError:
    labels = host.removesuffix('.').split('.')
  # Four numbers that are no address are no name either.
  is_name = not all(label.isdecimal() for label in labels)
  return is_name and all(_LABEL.fullmatch(label) for label in labels)


Host = Annotated[
  str,
  configs.Rule(
    is_host,
    "with a host name or an IP address alone, such as '192.168.1.5', without a "
    'scheme, a port or a path',
  ),
]


def is_loopback(host: str) -> bool:
  """Returns whether a host, as `is_host` accepts it, is this machine."""
  try:
    address = host.removeprefix('[').removesuffix(']')
    return ipaddress.ip_address(address).is_loopback
  except ValueError:
    return host.removesuffix('.').lower() == 'localhost'


def hold_free() -> socket.socket:
  """Returns a socket that holds a free port of 127.0.0.1 while it is open.

  Nothing else is given the port. A server that sets SO_REUSEADDR, as gRPC's do,
  can listen on it meanwhile.
  """
  held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
  try:
    held.bind(('127.0.0.1', 0))
    # Afterwards, or the port could be one that is held already.
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
      held.setsockopt(socket.SOL_SOCKET, option, 1)
  except OSError:
    held.close()
    raise
  return held


def join(host: str, port: int) -> str:
  """Returns HOST:PORT, with brackets around an IPv6 address."""
  bare = ':' in host and not host.startswith('[')
  return f'[{host}]:{port}' if bare else f'{host}:{port}'


def check_free(port: int, host: str, name: str) -> None:
  """Checks that this machine can listen on a port now.

  Args:
    port: to listen on.
    host: the address to listen at; '' is every one.
    name: of the flag or field that sets the port, for the message.

  Raises:
    OSError: it cannot.
  """
  with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind((host, port))
    except OSError as error:
      raise OSError(
        f'Port {port} cannot be listened on ({error.strerror}): another run '
        f'may be using it. Stop it, or choose another {name}.'
      ) from error
