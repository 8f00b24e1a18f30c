"""Holds the arm where it is when the server that leads it hangs or is gone.

It lives in a process of its own with its own connections to the controller:
what stops the server, its watchdog included, does not stop it.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import time

from robot_server import grippers
from robot_server import protocol
from robot_server import ros_driver

_log = logging.getLogger(__name__)

# Between two beats while a joint reset's program moves the arm, s: starting it
# keeps the server busy.
_RESET_PATIENCE_S = 1.0
# Until a hold that fails is given up when the server is gone, s.
_PERSISTENCE_S = 2.0
# rospy sends from another thread, which ends with the process.
_SENDING_S = 0.5
_CLOSE_S = 10.0


class Guard:
  """The server's side: starts the process and tells it that all is well."""

  def __init__(self, patience: float, mover: Callable[[], int | None]):
    """Starts the guard; it waits for the first beat.

    Args:
      patience: between two beats, s; after that the arm is held.
      mover: returns the process that moves the arm by itself, None without.
    """
    self._patience = patience
    self._mover = mover
    self._start()

  def beat(self) -> None:
    """Tells the guard that somebody watches the arm.

    Raises:
      DriverError: the guard had ended or hung; another one is started.
    """
    try:
      self._beats.send_bytes(b'%d' % (self._mover() or 0))
    except (BrokenPipeError, BlockingIOError) as error:
      # One that does not listen for minutes holds nothing either.
      self._process.kill()
      self._join()
      self._start()
      raise protocol.DriverError(
        'the process that holds the arm when the server is gone had ended or '
        'hung; another one starts'
      ) from error

  def close(self) -> None:
    """Ends the guard, which holds the arm once more."""
    self._join()

  def _start(self) -> None:
    # Not forked: the server has threads and connections to ROS.
    context = multiprocessing.get_context('spawn')
    heard, self._beats = context.Pipe(duplex=False)
    # A guard that does not listen must not stop who watches the arm.
    os.set_blocking(self._beats.fileno(), False)
    self._process = context.Process(
      target=_main, args=(heard, self._patience), name='guard'
    )
    self._process.start()
    # So that it is told when it is the last one that has the pipe.
    heard.close()

  def _join(self) -> None:
    self._beats.close()
    self._process.join(_CLOSE_S)
    if self._process.is_alive():
      self._process.kill()
      self._process.join()


def watch(
  beats: multiprocessing.connection.Connection,
  driver: protocol.Driver,
  patience: float,
) -> None:
  """Holds the arm whenever beats fail to come; returns when nobody sends any.

  Args:
    beats: each with the process that moves the arm by itself, or 0; they end
      when the server does.
    driver: reads the arm's pose and commands it.
    patience: between two beats, s.
  """
  mover = 0
  try:
    mover = int(beats.recv_bytes())
    while True:
      wait = _RESET_PATIENCE_S if mover else patience
      if not beats.poll(wait):
        reason = f'the server was silent for {wait:g} s'
        _hold(driver, mover, reason, lambda: beats.poll(patience))
      mover = int(beats.recv_bytes())
  except (EOFError, ConnectionError):
    give_up = time.monotonic() + _PERSISTENCE_S

    def is_late() -> bool:
      time.sleep(patience)
      return time.monotonic() > give_up

    _hold(driver, mover, 'the server is gone', is_late)
    if not mover:
      # A pose that the server sent just before may have come after the hold.
      time.sleep(patience)
      _hold(driver, mover, 'the server is gone', is_late)


def _hold(
  driver: protocol.Driver, mover: int, reason: str, is_over: Callable[[], bool]
) -> None:
  """Ends what moves the arm, or commands the pose that the tool has.

  Args:
    driver: of the arm.
    mover: the process that moves it by itself, or 0.
    reason: for the log.
    is_over: waits a moment, and tells whether to give up.
  """
  if mover:
    # Without a controller an arm stands.
    with contextlib.suppress(ProcessLookupError):
      os.kill(mover, signal.SIGTERM)
    _log.warning('%s; the joint reset is ended', reason)
    return
  said = ''
  while True:
    try:
      driver.command_pose(driver.read_arm().pose.tolist())
    except protocol.DriverError as error:
      if said != str(error):
        said = str(error)
        _log.warning('%s; the arm cannot be told to hold: %s', reason, said)
    else:
      _log.warning('%s; the arm is held', reason)
      return
    if is_over():
      return


def _main(
  beats: multiprocessing.connection.Connection, patience: float
) -> None:
  # The server ends it, by ending the beats.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  logging.basicConfig(
    level=logging.INFO, format='%(asctime)s %(name)s %(levelname)s %(message)s'
  )
  # Its predecessor may still hold the arm.
  with ros_driver.ros_node(f'robot_server_guard_{os.getpid()}'):
    driver = ros_driver.RosDriver(
      # It launches nothing.
      ros_driver.RosConfig(robot_ip=''),
      grippers.make('none', ''),
    )
    watch(beats, driver, patience)
    time.sleep(_SENDING_S)
