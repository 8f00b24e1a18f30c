"""What waited in the real server, behind a driver that hangs."""

import contextlib
import http.client
import socket
import threading
import time
from urllib import parse

import httpx

from robot_server import governor as governor_lib
from robot_server import protocol
from robot_server import routes
from robot_server import testing

POSE = [0.52, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
BODIES = {
  '/pose': {'arr': POSE},
  '/step': {'arr': POSE},
  '/move_gripper': {'gripper_pos': 100},
  '/update_param': {'rotational_Ki': 1.0},
}
# What stops the arm is done however late; what only reads moves nothing.
STOPS = ('/hold', '/stopimp')
ORDERS = [
  route.path
  for route in routes.ROUTES
  if route.answer is None and route.path not in STOPS
] + ['/step']
THREADS = 8  # the server's


class HangingDriver(testing.KinematicDriver):
  """Its time is the test's, and with it what is taken for late."""

  def __init__(self):
    self.time = 100.0
    self.asked = 0  # for its state
    self.arrived = 0  # requests in the server
    self.freed = threading.Event()
    self.resets = 0
    super().__init__(now=self._tell_time)

  def _tell_time(self):
    self.arrived += threading.current_thread().name == 'server'
    return self.time

  def reset_joints(self):
    self.resets += 1
    super().reset_joints()

  def was_led(self):
    """Tells whether anything was done to the arm."""
    return bool(
      self.commands
      or self.gripper.commands
      or self.recoveries
      or self.resets
      or self.compliance['rotational_Ki']
    )


def wait_until(is_so):
  give_up = time.monotonic() + 60
  while not is_so():
    assert time.monotonic() < give_up
    time.sleep(1e-3)


@contextlib.contextmanager
def deaf_server(monkeypatch):
  """Serves an arm, with all threads of the server but a hold's hanging."""
  # Nobody else asks the arm then.
  monkeypatch.setattr(governor_lib.Governor, 'check', lambda self: None)
  driver = HangingDriver()
  read = governor_lib.Governor.read_state

  def hang(governor):
    driver.asked += 1
    assert driver.freed.wait(60)
    return read(governor)

  monkeypatch.setattr(governor_lib.Governor, 'read_state', hang)
  with testing.serving(driver) as url, contextlib.ExitStack() as stack:
    stack.callback(driver.freed.set)
    readers = [Asking(driver, url, '/getq') for _ in range(THREADS)]
    wait_until(lambda: driver.asked == THREADS)
    yield driver, url
    driver.freed.set()
    assert [reader.answer().status_code for reader in readers] == [200] * 8


class Asking:
  """A request in a thread, that has arrived in the server."""

  def __init__(self, driver, url, path):
    before = driver.arrived
    self._answers = []
    self._thread = threading.Thread(target=self._ask, args=(url, path))
    self._thread.start()
    wait_until(lambda: driver.arrived > before)

  def _ask(self, url, path):
    self._answers.append(
      httpx.post(url[:-1] + path, json=BODIES.get(path), timeout=60)
    )

  def answer(self):
    self._thread.join(60)
    return self._answers[0]


def test_an_order_that_waited_too_long_is_refused(monkeypatch):
  assert len(ORDERS) == 12
  with deaf_server(monkeypatch) as (driver, url):
    waiting = {path: Asking(driver, url, path) for path in ORDERS}
    driver.time += 0.2
    driver.freed.set()
    for path, asking in waiting.items():
      answer = asking.answer()
      assert (path, answer.status_code) == (path, 409)
      assert answer.json()['kind'] == 'late'
      assert '0.20 s' in answer.json()['error']
    assert not driver.was_led()
    # It was their age and nothing else.
    for path in ORDERS:
      answer = httpx.post(url[:-1] + path, json=BODIES.get(path))
      assert (path, answer.status_code) == (path, 200)
    assert driver.was_led()


def test_one_that_waited_a_little_is_obeyed(monkeypatch):
  with deaf_server(monkeypatch) as (driver, url):
    asking = Asking(driver, url, '/pose')
    driver.time += 0.1
    driver.freed.set()
    assert asking.answer().status_code == 200
    assert len(driver.commands) == 1


def test_a_hold_is_obeyed_however_late(monkeypatch):
  with deaf_server(monkeypatch) as (driver, url):
    headers = {protocol.SENT: '1.0'}
    answer = httpx.post(url + 'hold', headers=headers, timeout=60)
    assert answer.status_code == 200
    # All the other threads still hang: it did not wait for one of them.
    assert not driver.freed.is_set()
    driver.freed.set()
    assert httpx.post(url + 'close_gripper').json()['kind'] == 'held'


def test_what_a_client_asked_that_has_hung_up_is_dropped(monkeypatch):
  with deaf_server(monkeypatch) as (driver, url):
    connection = http.client.HTTPConnection(parse.urlsplit(url).netloc)
    before = driver.arrived
    connection.request('POST', '/close_gripper')
    wait_until(lambda: driver.arrived > before)
    connection.close()
    # The server has seen that when it has gone round twice more.
    for _ in range(2):
      last = Asking(driver, url, '/getq')
    driver.freed.set()
    assert last.answer().status_code == 200
    assert not driver.was_led()


def test_requests_one_after_another_on_a_connection_wait_as_long(monkeypatch):
  with deaf_server(monkeypatch) as (driver, url):
    address = parse.urlsplit(url)
    text = f'POST /close_gripper HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n'
    with socket.create_connection((address.hostname, address.port)) as client:
      before = driver.arrived
      client.sendall(3 * text.encode())
      wait_until(lambda: driver.arrived == before + 3)
      driver.time += 0.2
      driver.freed.set()
      answers = b''
      while answers.count(b'"late"') < 3:
        part = client.recv(4096)
        assert part, answers
        answers += part
    assert not driver.was_led()


def test_who_asks_without_reading_the_answers_is_hung_up_on(monkeypatch):
  with deaf_server(monkeypatch) as (driver, url):
    address = parse.urlsplit(url)
    text = f'POST /close_gripper HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n'
    with socket.create_connection((address.hostname, address.port)) as client:
      # More than the server reads at once.
      client.sendall(400 * text.encode())
      client.settimeout(60)
      with contextlib.suppress(ConnectionResetError):
        assert client.recv(4096) == b''
    driver.freed.set()
    assert httpx.post(url + 'getq').status_code == 200
    assert not driver.was_led()
