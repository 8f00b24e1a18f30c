import threading
import time

import pytest

from robot_server import protocol
from robot_server import reading


def test_a_call_begins_after_it_was_asked_for():
  count = iter(range(100))
  read = reading.Reader(lambda: next(count), patience=60.0)
  assert [read() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_an_error_is_the_callers():
  def fail():
    raise ZeroDivisionError

  read = reading.Reader(fail, patience=60.0)
  for _ in range(2):
    with pytest.raises(ZeroDivisionError):
      read()


def test_a_call_that_hangs_takes_one_thread_and_its_callers_go_on():
  freed, calls = threading.Event(), []

  def hang():
    calls.append(threading.current_thread())
    assert freed.wait(60)
    return 'state'

  read = reading.Reader(hang, patience=0.2)
  for _ in range(20):
    with pytest.raises(protocol.DriverError, match=r'not answered for \d'):
      read()
  assert len(calls) == 1
  # Once that is known nobody waits any more.
  began = time.monotonic()
  for _ in range(200):
    with pytest.raises(protocol.DriverError):
      read()
  assert time.monotonic() - began < 200 * 0.2 / 2
  freed.set()
  give_up = time.monotonic() + 60
  while True:
    try:
      assert read() == 'state'
      break
    except protocol.DriverError:
      assert time.monotonic() < give_up


def test_callers_at_the_same_time_share_a_call():
  begun, freed, calls = threading.Event(), threading.Event(), []

  def slowly():
    calls.append(1)
    begun.set()
    assert freed.wait(60)
    return len(calls)

  read = reading.Reader(slowly, patience=60.0)
  first, others = [], []
  threads = [threading.Thread(target=lambda: first.append(read()))]
  threads[0].start()
  assert begun.wait(60)
  # They ask while the first is answered: theirs is the next.
  ask = lambda: others.append(read())
  threads += [threading.Thread(target=ask) for _ in range(10)]
  for thread in threads[1:]:
    thread.start()
  while read._wanted < 2:
    time.sleep(1e-3)
  freed.set()
  for thread in threads:
    thread.join(60)
  assert len(first) == 1 and len(others) == 10
  assert min(others) == 2 and len(calls) < 11


def test_the_thread_ends_when_nobody_needs_it(monkeypatch):
  monkeypatch.setattr(reading, '_IDLE_S', 0.01)
  read = reading.Reader(lambda: 1, patience=60.0)
  for _ in range(3):
    assert read() == 1
    give_up = time.monotonic() + 60
    while read._thread is not None:
      assert time.monotonic() < give_up
      time.sleep(1e-3)
