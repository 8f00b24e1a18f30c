import threading
import time

from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import testing
from robot_server import watchdog as watchdog_lib

LIMITS = limits_lib.Limits()
FAR = [0.7, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]


def test_the_watchdog_holds_by_itself():
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, LIMITS)
  watchdog = watchdog_lib.Watchdog(governor)

  governor.command(FAR)
  give_up = time.monotonic() + 10
  while len(driver.commands) < 2 and time.monotonic() < give_up:
    time.sleep(0.01)
  watchdog.close()

  assert governor.audit.last()[0]['event'] == 'watchdog'
  assert driver.commands[1][0] < 0.66


def test_nothing_ends_the_watchdog(monkeypatch):
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, LIMITS)
  looks = threading.Semaphore(0)

  def fail():
    looks.release()
    raise ZeroDivisionError

  monkeypatch.setattr(governor, 'check', fail)
  watchdog = watchdog_lib.Watchdog(governor)
  assert all(looks.acquire(timeout=10) for _ in range(3))
  watchdog.close()


def test_the_watchdog_beats_while_the_arm_has_no_state():
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, LIMITS)
  governor.command(FAR)
  driver.silent_since = driver.now() - 1.0
  beats = threading.Semaphore(0)

  watchdog = watchdog_lib.Watchdog(governor, beats.release)
  assert all(beats.acquire(timeout=10) for _ in range(3))
  watchdog.close()


def test_the_watchdog_does_not_beat_when_it_hangs(monkeypatch):
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, LIMITS)
  hangs, ends = threading.Event(), threading.Event()

  def hang():
    hangs.set()
    ends.wait()

  monkeypatch.setattr(governor, 'check', hang)
  beats = []
  watchdog = watchdog_lib.Watchdog(governor, lambda: beats.append(1))
  assert hangs.wait(10)
  time.sleep(5 * watchdog.period)
  assert not beats
  ends.set()
  watchdog.close()


def test_a_guard_that_has_ended_is_told():
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, LIMITS)

  def fail():
    raise protocol.DriverError('the guard had ended')

  watchdog = watchdog_lib.Watchdog(governor, fail)
  give_up = time.monotonic() + 10
  while not governor.status()['last_error'] and time.monotonic() < give_up:
    time.sleep(0.01)
  watchdog.close()
  assert governor.status()['last_error'] == 'driver: the guard had ended'
