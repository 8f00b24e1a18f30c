import sys
import threading
import time

import pytest

from robot_server import processes

SPEAKS = 'print("hello", flush=True); import time; time.sleep(60)'
DEAF = (
  'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); '
  'print("deaf", flush=True); time.sleep(60)'
)


def start(code):
  process = processes.Process([sys.executable, '-c', code])
  return process


def wait_for(process, line):
  give_up = time.monotonic() + 30
  while line not in process.describe():
    assert time.monotonic() < give_up, process.describe()
    time.sleep(0.01)


def test_a_program_is_ended():
  process = start(SPEAKS)
  wait_for(process, '\nhello')
  assert process.is_alive()

  process.stop(30)

  assert not process.is_alive()
  # A second time is nothing.
  process.stop(30)


def test_the_end_of_a_program_is_told():
  process = start('print("why"); raise SystemExit(3)')
  wait_for(process, 'ended with code 3\nwhy')
  assert not process.is_alive()


def test_only_the_last_lines_are_kept():
  process = start('for i in range(100_000): print(i)')
  wait_for(process, 'ended with code 0')
  lines = process.describe().splitlines()
  assert lines[-1] == '99999'
  assert len(lines) < 50


def test_a_deaf_program_is_killed():
  process = start(DEAF)
  wait_for(process, '\ndeaf')

  process.stop(0.2)

  assert not process.is_alive()


def test_two_may_end_it_at_once():
  process = start(SPEAKS)
  threads = [
    threading.Thread(target=process.stop, args=(30,)) for _ in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(30)
  assert not process.is_alive()


def test_a_missing_program_is_an_error():
  with pytest.raises(OSError):
    processes.Process(['no-such-program'])
