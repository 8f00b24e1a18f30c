"""Holds the arm where it is when the server that leads it hangs or is gone.

It lives in a process of its own with its own connections to the controller:
what stops the server, its watchdog included, does not stop it.
"""

from __future__ import annotations

from collections.abc import Callable
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

_BEAT = b'.'
# Until a hold that fails is given up when the server is gone, s.
_PERSISTENCE_S = 2.0
# rospy sends from another thread, which ends with the process.
_SENDING_S = 0.5
_CLOSE_S = 10.0


class Guard:
  """The server's side: starts the process and tells it that all is well."""

  def __init__(self, patience: float):
    """Starts the guard; it waits for the first beat.

    Args:
      patience: between two beats, s; after that the arm is held.
    """
    self._patience = patience
    self._start()

  def beat(self) -> None:
    """Tells the guard that somebody watches the arm.

    Raises:
      DriverError: the guard had ended or hung; another one is started.
    """
    try:
      self._beats.send_bytes(_BEAT)
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
    beats: ends when the server does.
    driver: reads the arm's pose and commands it.
    patience: between two beats, s.
  """
  try:
    beats.recv_bytes()
    while True:
      if not beats.poll(patience):
        _hold(
          driver,
          f'the server was silent for {patience:g} s',
          lambda: beats.poll(patience),
        )
      beats.recv_bytes()
  except (EOFError, ConnectionError):
    give_up = time.monotonic() + _PERSISTENCE_S

    def is_late() -> bool:
      time.sleep(patience)
      return time.monotonic() > give_up

    _hold(driver, 'the server is gone', is_late)


def _hold(
  driver: protocol.Driver, reason: str, is_over: Callable[[], bool]
) -> None:
  """Commands the pose that the tool has, until that succeeds or `is_over`."""
  said = ''
  while True:
    try:
      driver.command_pose(driver.read_state().pose.tolist())
    except protocol.DriverError as error:
      # Where no controller listens, none leads the arm anywhere.
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
  with ros_driver.ros_node('robot_server_guard'):
    driver = ros_driver.RosDriver(
      # It launches nothing.
      ros_driver.RosConfig(robot_ip=''),
      grippers.make('none', ''),
    )
    watch(beats, driver, patience)
    time.sleep(_SENDING_S)
