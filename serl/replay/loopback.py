"""Keeps a server that listens on every interface to this machine.

Reverb's server always listens on `[::]` and takes no address. Its listening
sockets are exchanged, in its own process, for ones on 127.0.0.1. Linux alone.
"""

from collections.abc import Iterator
import contextlib
import ctypes
import ipaddress
import os
import re
import socket

_HOST = '127.0.0.1'
_BACKLOG = 128
_EPOLL_CTL_ADD = 1
_WATCH = re.compile(r'tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)')


class _EpollEvent(ctypes.Structure):
  """Linux's `struct epoll_event` on x86-64, where alone Reverb has wheels."""

  _pack_ = 1
  _fields_ = [('events', ctypes.c_uint32), ('data', ctypes.c_uint64)]


def confine(port: int) -> None:
  """Moves this process's TCP server on `port` to 127.0.0.1.

  Connections from other machines that came before are cut. Call it once, right
  after the server has started.

  Args:
    port: on which this process listens.

  Raises:
    OSError: this process does not listen on `port`, or the port cannot be
      taken on 127.0.0.1.
  """
  listening, connected = [], []
  for descriptor, copy in _sockets(port):
    if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
      listening.append(descriptor)
    else:
      connected.append(descriptor)
  if not listening:
    raise OSError(f'This process does not listen on port {port}.')
  for descriptor in listening:
    _exchange(descriptor, port)
  for descriptor, copy in _sockets(port):
    if descriptor not in listening and not _is_from_here(copy):
      with contextlib.suppress(OSError):  # it has hung up
        copy.shutdown(socket.SHUT_RDWR)


def _sockets(port: int) -> Iterator[tuple[int, socket.socket]]:
  """Yields the descriptors of the TCP sockets on a local port, and copies."""
  for name in os.listdir('/proc/self/fd'):
    descriptor = int(name)
    try:
      if not os.readlink(f'/proc/self/fd/{name}').startswith('socket:'):
        continue
      copy = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # closed since it was listed
      continue
    with copy:
      is_ip = copy.family in (socket.AF_INET, socket.AF_INET6)
      is_tcp = copy.type == socket.SOCK_STREAM
      if is_ip and is_tcp and copy.getsockname()[1] == port:
        yield descriptor, copy


def _exchange(descriptor: int, port: int) -> None:
  """Puts a listening socket on 127.0.0.1 in the place of `descriptor`.

  The kernel forgets who polls the old socket, so each epoll instance that did
  is given the new one with the same events and data.
  """
  watches = list(_watches(descriptor))
  with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as local:
    # The old socket still has the port; gRPC shares its ports. So may a process
    # that holds the port for this one, see `addresses.hold_free`.
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
      local.setsockopt(socket.SOL_SOCKET, option, 1)
    local.bind((_HOST, port))
    local.listen(_BACKLOG)
    local.setblocking(False)
    os.dup2(local.fileno(), descriptor, inheritable=False)
  libc = ctypes.CDLL(None, use_errno=True)
  for epoll, events, data in watches:
    event = _EpollEvent(events, data)
    if libc.epoll_ctl(epoll, _EPOLL_CTL_ADD, descriptor, ctypes.byref(event)):
      code = ctypes.get_errno()
      raise OSError(code, f'epoll_ctl of port {port}: {os.strerror(code)}')


def _watches(descriptor: int) -> Iterator[tuple[int, int, int]]:
  """Yields the epoll instances that poll a descriptor, its events and data."""
  for name in os.listdir('/proc/self/fd'):
    try:
      if os.readlink(f'/proc/self/fd/{name}') != 'anon_inode:[eventpoll]':
        continue
      with open(f'/proc/self/fdinfo/{name}') as file:
        lines = file.read()
    except OSError:  # closed since it was listed
      continue
    for polled, events, data in _WATCH.findall(lines):
      if int(polled) == descriptor:
        yield int(name), int(events, 16), int(data, 16)


def _is_from_here(connection: socket.socket) -> bool:
  try:
    address = ipaddress.ip_address(connection.getpeername()[0])
  except OSError:  # it has hung up
    return True
  address = getattr(address, 'ipv4_mapped', None) or address
  return address.is_loopback
