"""A driver that hangs keeps nobody from the arm's health, or from a hold."""

import contextlib
import http.client
import json
import threading
from urllib import parse

import pytest

from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import testing

HERE = [0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
READS = ('/getstate', '/getpos', '/getpos_euler', '/getq', '/get_gripper')


class Hang:
  """Takes the place of a method and does not return until it is freed."""

  def __init__(self):
    self.begun = threading.Semaphore(0)
    self.freed = threading.Event()

  def __call__(self, *args, **kwargs):
    self.begun.release()
    assert self.freed.wait(60)
    raise protocol.DriverError('it hung')


@pytest.fixture
def hang():
  hang = Hang()
  yield hang
  hang.freed.set()


def ask(url, path, body=None, method='POST'):
  """Returns an answer's status and its JSON, if that is what it is."""
  # Much quicker to make than a client of httpx.
  connection = http.client.HTTPConnection(
    parse.urlsplit(url).netloc, timeout=60
  )
  headers = {'Content-Type': 'application/json'}
  connection.request(
    method, path, None if body is None else json.dumps(body), headers
  )
  response = connection.getresponse()
  text = response.read()
  connection.close()
  is_json = response.headers['Content-Type'] == 'application/json'
  return response.status, json.loads(text) if is_json else None


@contextlib.contextmanager
def asking(url, path, body=None, times=1):
  """Asks in threads that end when the driver answers again."""
  threads = [
    threading.Thread(target=ask, args=(url, path, body)) for _ in range(times)
  ]
  for thread in threads:
    thread.start()
  try:
    yield
  finally:
    for thread in threads:
      thread.join(60)


def demand_answers(url, hold=200):
  """Everything that needs no driver is answered while the driver hangs."""
  for _ in range(2):
    status, health = ask(url, '/health', method='GET')
    assert status in (200, 503) and 'held' in health
    for path in READS:
      assert ask(url, path)[0] in (200, 503), path
  assert ask(url, '/hold')[0] == hold
  assert ask(url, '/health', method='GET')[1]['held']


@contextlib.contextmanager
def commanding(governor):
  """Commands a pose in a thread that ends when the driver answers again."""

  def command():
    with pytest.raises(protocol.DriverError, match='it hung'):
      governor.command(HERE)

  thread = threading.Thread(target=command)
  thread.start()
  try:
    yield
  finally:
    thread.join(60)


@pytest.mark.parametrize('name', ['read_state', 'read_arm'])
def test_a_driver_that_does_not_answer(hang, name):
  driver = testing.KinematicDriver()
  with testing.serving(driver) as url, contextlib.ExitStack() as stack:
    stack.callback(hang.freed.set)
    setattr(driver, name, hang)
    _, health = ask(url, '/health', method='GET')
    if name == 'read_state':
      assert not health['ok'] and health['state'] is None
      assert 'not answered' in health['controller']
    # A hold says that it does not know where to hold the arm.
    demand_answers(url, 503)
    # As often as somebody loses patience with it.
    for _ in range(20):
      ask(url, '/hold')
      ask(url, '/health', method='GET')


@pytest.mark.parametrize(
  'name, path, body',
  [
    ('command_pose', '/pose', {'arr': HERE}),
    ('clear_errors', '/clearerr', None),
    ('set_compliance', '/update_param', {'rotational_Ki': 1.0}),
    ('start_impedance', '/startimp', None),
    ('stop_impedance', '/stopimp', None),
    ('gripper.close', '/close_gripper', None),
    ('gripper.reset', '/reset_gripper', None),
  ],
)
def test_a_command_that_does_not_return(hang, name, path, body):
  driver = testing.KinematicDriver()
  part, _, method = name.rpartition('.')
  on = driver.gripper if part else driver
  with testing.serving(driver) as url:
    setattr(on, method, hang)
    # More than the server has threads.
    with asking(url, path, body, times=12), contextlib.ExitStack() as stack:
      stack.callback(hang.freed.set)
      assert hang.begun.acquire(timeout=60)
      # A hold has to command a pose, and the lock that another command has.
      fails = name in ('command_pose', 'clear_errors', 'start_impedance')
      if name == 'start_impedance':
        # What it would stop is the start, which it does.
        fails = False
      demand_answers(url, 503 if fails else 200)


def test_a_hold_behind_a_driver_that_hung_is_made_good(hang):
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, limits_lib.Limits())
  send, driver.command_pose = driver.command_pose, hang
  with commanding(governor):
    assert hang.begun.acquire(timeout=60)
    with pytest.raises(protocol.DriverError, match='does not return'):
      governor.hold()
    driver.command_pose = send
    hang.freed.set()
  governor.check()
  assert len(driver.commands) == 1
  with pytest.raises(governor_lib.RefusedError, match='held'):
    governor.command(HERE)


def test_the_status_waits_for_no_lock():
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, limits_lib.Limits())
  answers = []
  with governor._lock:
    thread = threading.Thread(target=lambda: answers.append(governor.status()))
    thread.start()
    thread.join(60)
    assert answers[0]['recoveries_left'] == limits_lib.Limits().max_recoveries


def test_a_command_does_not_wait_for_ever_for_another(hang):
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, limits_lib.Limits())
  driver.command_pose = hang
  with commanding(governor):
    assert hang.begun.acquire(timeout=60)
    for call in (lambda: governor.command(HERE), governor.clear_errors):
      with pytest.raises(protocol.DriverError, match='does not return'):
        call()
    hang.freed.set()
