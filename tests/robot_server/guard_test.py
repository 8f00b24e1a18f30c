import contextlib
import multiprocessing
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from robot_server import guard as guard_lib
from robot_server import protocol
from robot_server import testing

PATIENCE = 0.5  # s
FAR = [0.6, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def driver():
  # It needs an hour to get anywhere.
  driver = testing.KinematicDriver(time_constant=3600.0)
  driver.command_pose(FAR)
  return driver


@contextlib.contextmanager
def watched(driver):
  """Yields what sends the beats; the guard has returned at the end."""
  heard, beats = multiprocessing.Pipe(duplex=False)
  thread = threading.Thread(
    target=guard_lib.watch, args=(heard, driver, PATIENCE)
  )
  thread.start()
  try:
    yield beats
  finally:
    beats.close()
    thread.join(10 * PATIENCE)
  assert not thread.is_alive()


def wait_until(is_so):
  give_up = time.monotonic() + 60 * PATIENCE
  while not is_so():
    assert time.monotonic() < give_up
    time.sleep(PATIENCE / 50)


def is_held(driver):
  return driver.commands[-1][0] < 0.51


def test_an_arm_whose_server_is_silent_is_held_once(driver, caplog):
  with watched(driver) as beats:
    beats.send_bytes(b'0')
    wait_until(lambda: is_held(driver))
    time.sleep(2 * PATIENCE)
    assert len(driver.commands) == 2
    # It crept on a little while it was told.
    np.testing.assert_allclose(
      driver.commands[-1], driver.read_state().pose, atol=1e-4
    )
    assert 'silent for 0.5 s; the arm is held' in caplog.text

    # It is back, leads the arm and is silent again.
    driver.command_pose(FAR)
    beats.send_bytes(b'0')
    wait_until(lambda: is_held(driver))


def test_an_arm_whose_server_is_gone_is_held(driver, caplog):
  with watched(driver) as beats:
    beats.send_bytes(b'0')
  assert is_held(driver)
  assert 'the server is gone; the arm is held' in caplog.text


def test_an_arm_whose_server_beats_is_left_alone(driver):
  with watched(driver) as beats:
    for _ in range(20):
      beats.send_bytes(b'0')
      time.sleep(PATIENCE / 10)
    assert len(driver.commands) == 1


def test_a_server_that_has_not_begun_is_waited_for(driver):
  with watched(driver) as beats:
    time.sleep(2 * PATIENCE)
    assert len(driver.commands) == 1
    beats.send_bytes(b'0')


def test_a_hold_that_fails_is_tried_again(driver, caplog):
  with watched(driver) as beats:
    driver.running = False
    beats.send_bytes(b'0')
    wait_until(lambda: 'cannot be told to hold' in caplog.text)
    driver.running = True
    wait_until(lambda: is_held(driver))


@pytest.mark.parametrize('ends', [True, False])
def test_what_moves_the_arm_by_itself_is_ended(driver, monkeypatch, ends):
  monkeypatch.setattr(guard_lib, '_RESET_PATIENCE_S', PATIENCE)
  mover = subprocess.Popen(['sleep', '600'])
  with watched(driver) as beats:
    beats.send_bytes(b'%d' % mover.pid)
    if ends:
      beats.close()
    assert mover.wait(60) == -signal.SIGTERM
  assert len(driver.commands) == 1


def test_a_guard_that_cannot_work_is_started_anew():
  # There is no ROS master it could reach.
  guard = guard_lib.Guard(PATIENCE, lambda: None)
  first = guard._process
  first.kill()
  first.join()
  with pytest.raises(protocol.DriverError, match='another one starts'):
    guard.beat()
  assert guard._process.pid != first.pid
  guard.close()
  assert not guard._process.is_alive()
