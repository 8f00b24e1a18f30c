"""One client leads the arm, and its requests count in the order of sending."""

import contextlib
import http.client
import json
import threading
import time
from urllib import parse

import httpx
import numpy as np
import pytest

from robot_server import governor as governor_lib
from robot_server import lease as lease_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import routes as routes_lib
from robot_server import testing

HERE = [0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
BODIES = {
  '/pose': {'arr': HERE},
  '/step': {'arr': HERE},
  '/move_gripper': {'gripper_pos': 100},
  '/update_param': {'rotational_Ki': 1.0},
}
COMMANDS = [
  route.path
  for route in routes_lib.ROUTES
  if route.answer is None and not route.stops and route.path != '/release'
] + ['/step']


class Connection:
  def __init__(self, open_=True):
    self.open = open_

  def is_open(self):
    return self.open


def client(name=None, address='10.0.0.2', open_=True):
  return lease_lib.Client(address, name, Connection(open_))


def test_a_name_stays_the_same_client_over_connections():
  assert client('run').is_same(client('run'))
  assert not client('run').is_same(client('other'))
  assert not client('run').is_same(client('run', address='10.0.0.3'))
  assert not client('run').is_same(client())
  assert not client().is_same(client('run'))


def test_without_names_connections_tell_clients_apart_while_they_are_open():
  first = client()
  assert first.is_same(first)
  assert not client().is_same(first)
  assert not client(address='10.0.0.3').is_same(client(open_=False))
  # SERL's client opens one for each request, after it has closed the last.
  assert client().is_same(client(open_=False))


def test_the_lease_lasts_as_long_as_it_was_taken_for():
  lease = lease_lib.Lease()
  one, two = client('one'), client('two')
  assert lease.take(one, 10.0, 0.15) == ''
  assert 'one at 10.0.0.2' in lease.take(two, 10.1, 0.15)
  assert lease.take(one, 10.1, 0.15) == ''
  assert lease.take(two, 10.2, 0.15)
  assert lease.take(two, 10.251, 0.15) == ''
  assert lease.take(one, 10.3, 0.15)
  # The server itself needs none, and takes none.
  assert lease.take(None, 10.3, 5.0) == ''
  lease.end()
  assert lease.take(one, 10.3, 0.15) == ''


def test_what_was_sent_earlier_and_comes_later_is_found():
  order = lease_lib.Order(memory=0.15)
  sent = lambda time, name='run': lease_lib.Caller(client(name), None, time)
  assert not order.overtaken_by(sent(5.0), now=10.0)
  assert not order.overtaken_by(sent(5.1), now=10.1)
  assert order.overtaken_by(sent(5.05), now=10.11) == pytest.approx(0.05)
  assert not order.overtaken_by(sent(5.1), now=10.12)  # the same once more
  assert not order.overtaken_by(sent(5.05, 'other'), now=10.12)
  assert not order.overtaken_by(lease_lib.Caller(client('run')), now=10.12)
  # A clock that was set back.
  assert not order.overtaken_by(sent(1.0), now=10.3)


def test_the_order_of_many_clients_is_bounded():
  order = lease_lib.Order(memory=1e9)
  for number in range(1000):
    caller = lease_lib.Caller(client(str(number)), None, float(number))
    assert not order.overtaken_by(caller, now=0.0)
  assert len(order._newest) < 100


class Clock:
  time = 100.0

  def __call__(self):
    return self.time


@contextlib.contextmanager
def served(**limits):
  """Yields an arm whose time is the test's, and the address of its server."""
  clock = Clock()
  driver = testing.KinematicDriver(now=clock)
  with testing.serving(driver, limits_lib.Limits(**limits)) as url:
    yield driver, clock, url


def post(asker, path, **headers):
  return asker.post(
    path, json=BODIES.get(path), headers=headers or None, timeout=60
  )


@contextlib.contextmanager
def session(url):
  with httpx.Client(base_url=url, timeout=60) as opened:
    yield opened


@pytest.mark.parametrize('named', [True, False])
def test_another_client_is_refused_whatever_it_asks(named):
  assert len(COMMANDS) == 11
  one = {protocol.CLIENT: 'one'} if named else {}
  two = {protocol.CLIENT: 'two'} if named else {}
  with served() as (driver, clock, url), session(url) as a, session(url) as b:
    assert post(a, '/pose', **one).status_code == 200
    before = len(driver.commands)
    for path in COMMANDS:
      answer = post(b, path, **two)
      assert (path, answer.status_code) == (path, 409)
      assert answer.json()['kind'] == 'led'
    assert len(driver.commands) == before
    assert not driver.gripper.commands and not driver.recoveries
    assert driver.compliance['rotational_Ki'] == 0 and not driver.q.any()
    # It may look, and hold.
    assert post(b, '/getstate', **two).status_code == 200
    assert post(a, '/pose', **one).status_code == 200
    assert post(b, '/hold', **two).status_code == 200
    assert post(a, '/pose', **one).json()['kind'] == 'held'
    # A hold ends the lead: who releases may lead.
    assert post(b, '/release', **two).status_code == 200
    assert post(b, '/pose', **two).status_code == 200
    assert post(a, '/pose', **one).json()['kind'] == 'led'
    clock.time += 0.151
    assert post(a, '/pose', **one).status_code == 200


@pytest.mark.parametrize('path', COMMANDS)
def test_every_command_gives_the_lead(path):
  with served() as (_, clock, url), session(url) as a, session(url) as b:
    assert post(a, path).status_code == 200
    clock.time += 0.1
    assert post(b, '/pose').json()['kind'] == 'led'


def test_a_refused_command_gives_no_lead():
  with served() as (_, _, url), session(url) as a, session(url) as b:
    assert a.post('/pose', json={'arr': [1, 2]}).status_code == 400
    assert post(a, '/pose', **{protocol.SENT: '1.0'}).json()['kind'] == 'late'
    assert post(b, '/pose').status_code == 200
    # Neither does what only looks.
    assert post(a, '/pose').json()['kind'] == 'led'


def test_a_client_that_opens_a_connection_for_each_request_leads():
  with served() as (driver, _, url):
    address = parse.urlsplit(url).netloc
    for _ in range(100):
      # As requests.post does; the server may not have seen it hang up.
      connection = http.client.HTTPConnection(address, timeout=60)
      connection.request(
        'POST',
        '/pose',
        json.dumps({'arr': HERE}),
        {'Content-Type': 'application/json'},
      )
      assert connection.getresponse().status == 200
      connection.close()
    assert len(driver.commands) == 100


def test_a_named_client_whose_connection_was_made_anew_leads_at_once():
  name = {protocol.CLIENT: 'run'}
  with served() as (_, _, url), session(url) as a, session(url) as b:
    assert post(a, '/pose', **name).status_code == 200
    assert post(b, '/pose', **name).status_code == 200


def test_a_gripper_that_moves_keeps_the_lead():
  with served() as (driver, clock, url), session(url) as a, session(url) as b:
    assert post(a, '/pose').status_code == 200
    assert post(a, '/close_gripper').status_code == 200
    clock.time += 0.6
    assert post(b, '/pose').json()['kind'] == 'led'
    assert post(a, '/pose').status_code == 200
    # The wait is over with the next command.
    clock.time += 0.2
    assert post(b, '/pose').status_code == 200
    assert len(driver.gripper.commands) == 1


@pytest.mark.parametrize(
  'wrong', [{protocol.SENT: 'soon'}, {protocol.CLIENT: 'x' * 100}]
)
def test_headers_without_sense_stop_no_hold(wrong):
  with served() as (_, _, url), session(url) as a:
    assert post(a, '/pose', **wrong).status_code == 400
    assert post(a, '/hold', **wrong).status_code == 200
    assert post(a, '/stopimp', **wrong).status_code == 200


@pytest.mark.parametrize('named', [True, False])
def test_an_older_command_of_a_client_is_refused_after_a_newer_one(named):
  name = {protocol.CLIENT: 'run'} if named else {}
  with served() as (driver, _, url), session(url) as a:
    for sent, status in (
      (99.90, 200),
      (99.95, 200),
      (99.94, 409),
      (99.95, 200),
      (100.5, 200),  # a clock that is ahead
      (100.4, 409),
      (100.6, 200),
    ):
      answer = post(a, '/pose', **name, **{protocol.SENT: str(sent)})
      assert answer.status_code == status, (sent, answer.text)
      if status == 409:
        assert answer.json()['kind'] == 'late'
    assert len(driver.commands) == 5


def test_a_release_that_was_sent_before_a_hold_does_not_undo_it():
  with served() as (_, _, url), session(url) as a:
    assert post(a, '/hold', **{protocol.SENT: '99.99'}).status_code == 200
    late = post(a, '/release', **{protocol.SENT: '99.98'})
    assert late.json()['kind'] == 'late'
    assert post(a, '/pose').json()['kind'] == 'held'
    assert post(a, '/release', **{protocol.SENT: '100.0'}).status_code == 200


def test_two_clients_do_not_reverse_the_arm():
  driver = testing.KinematicDriver()
  # A busy machine lets threads wait.
  limits = limits_lib.Limits(command_ttl=60.0)
  with testing.serving(driver, limits) as url:
    answers = {0.45: [], 0.55: []}
    ready = threading.Barrier(2)

    def lead(x):
      with session(url) as opened:
        ready.wait()
        for _ in range(50):
          answer = opened.post('/pose', json={'arr': [x, *HERE[1:]]})
          answers[x].append(answer.status_code)

    threads = [threading.Thread(target=lead, args=(x,)) for x in answers]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join(60)
  x = np.array(driver.commands)[:, 0]
  # All towards the one, or all towards the other.
  assert np.all(np.diff(x) >= 0) or np.all(np.diff(x) <= 0)
  assert sorted(map(sum, answers.values())) == [50 * 200, 50 * 409]


def test_a_second_client_is_not_kept_waiting_by_the_first(monkeypatch):
  driver = testing.KinematicDriver()
  governor = governor_lib.Governor(driver, limits_lib.Limits(command_ttl=60.0))
  freed, asked, read = threading.Event(), threading.Event(), driver.read_state

  def hang():
    asked.set()
    assert freed.wait(60)
    return read()

  monkeypatch.setattr(driver, 'read_state', hang)
  caller = lambda name: lease_lib.Caller(client(name))
  thread = threading.Thread(target=governor.command, args=(HERE, caller('a')))
  thread.start()
  assert asked.wait(60)
  began = time.monotonic()
  with pytest.raises(governor_lib.RefusedError, match='leads the arm'):
    governor.command(HERE, caller('b'))
  assert time.monotonic() - began < 30 and not freed.is_set()
  freed.set()
  thread.join(60)
