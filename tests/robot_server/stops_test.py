"""What ends a motion: a hold, a person's stop button, force, being late."""

import threading

import numpy as np
import pytest

from robot_server import app as app_lib
from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import testing

NEAR = np.array([0.501, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])


@pytest.fixture
def driver():
  return testing.KinematicDriver(now=lambda: 100.0)


@pytest.fixture
def governor(driver):
  return governor_lib.Governor(driver, limits_lib.Limits())


def test_nothing_moves_when_the_stop_button_is_let_go_of(governor, driver):
  driver.mode = 'user_stopped'
  governor.check()
  driver.mode = 'idle'
  for ask in (
    lambda: governor.command(NEAR),
    governor.clear_errors,
    governor.start_impedance,
    governor.reset_joints,
    lambda: governor.command_gripper('close'),
  ):
    with pytest.raises(governor_lib.RefusedError, match='held'):
      ask()
  assert not driver.commands and not driver.recoveries
  assert 'a person has stopped the arm' in governor.status()['last_error']
  driver.mode = 'moving'
  governor.release()
  governor.command(NEAR)
  assert len(driver.commands) == 1


def _resetting(governor, driver, monkeypatch):
  """Begins a joint reset that ends when the controller is stopped."""
  begun, stopped = threading.Event(), threading.Event()

  def reset_joints():
    begun.set()
    assert stopped.wait(30)
    raise protocol.JointResetError('interrupted')

  monkeypatch.setattr(driver, 'reset_joints', reset_joints)
  monkeypatch.setattr(driver, 'stop_impedance', stopped.set)
  errors = []

  def run():
    try:
      governor.reset_joints()
    except protocol.JointResetError as error:
      errors.append(error)

  thread = threading.Thread(target=run)
  thread.start()
  assert begun.wait(30)
  return thread, stopped, errors


def test_a_hold_ends_a_joint_reset(governor, driver, monkeypatch):
  thread, stopped, errors = _resetting(governor, driver, monkeypatch)
  with pytest.raises(governor_lib.RefusedError) as caught:
    governor.command(NEAR)
  assert caught.value.kind == 'busy'

  governor.hold()
  thread.join(30)

  assert stopped.is_set() and errors and not thread.is_alive()
  with pytest.raises(governor_lib.RefusedError, match='held'):
    governor.command(NEAR)


def test_a_joint_reset_that_meets_force_is_stopped(
  governor, driver, monkeypatch
):
  thread, stopped, errors = _resetting(governor, driver, monkeypatch)
  driver.force = np.array([0.0, 0.0, -20.0])
  governor.check()
  assert not stopped.is_set()
  driver.force = np.array([0.0, 0.0, -200.0])
  governor.check()
  thread.join(30)
  assert stopped.is_set() and len(errors) == 1
  reasons = [event.get('reason') for event in governor.audit.last()]
  assert 'force' in reasons


def test_the_stop_button_ends_a_joint_reset(governor, driver, monkeypatch):
  thread, stopped, errors = _resetting(governor, driver, monkeypatch)
  driver.mode = 'user_stopped'
  governor.check()
  thread.join(30)
  assert stopped.is_set() and len(errors) == 1
  assert governor.status()['held']


def test_compliance_that_hangs_takes_one_thread(governor, driver, monkeypatch):
  begun, end = threading.Event(), threading.Event()

  def hang(parameters):
    begun.set()
    assert end.wait(30)

  monkeypatch.setattr(driver, 'set_compliance', hang)
  change = {'translational_stiffness': 2000.0}
  thread = threading.Thread(target=governor.set_compliance, args=(change,))
  thread.start()
  assert begun.wait(30)
  with pytest.raises(governor_lib.RefusedError, match='being changed'):
    governor.set_compliance(change)
  end.set()
  thread.join(30)
  governor.set_compliance(change)


@pytest.mark.parametrize('route', ['pose', 'release', 'close_gripper'])
def test_what_was_sent_long_ago_is_late(governor, driver, route):
  client = app_lib.make_app(driver, governor).test_client()
  body = {'arr': NEAR.tolist()} if route == 'pose' else None
  if route == 'release':
    governor.hold()
  now = client.get('/health').get_json()['now']
  held = len(driver.commands)

  def post(sent):
    headers = {protocol.SENT: str(sent)}
    return client.post(f'/{route}', json=body, headers=headers)

  answer = post(now - 3.0)
  assert (answer.status_code, answer.get_json()['kind']) == (409, 'late')
  assert len(driver.commands) == held and not driver.gripper.commands
  for wrong in ('soon', 'nan', 'inf'):
    assert post(wrong).status_code == 400
  # A clock that is ahead does no harm.
  assert post(now + 5.0).status_code == 200


@pytest.mark.parametrize('mode', ['user_stopped', 'guiding'])
@pytest.mark.parametrize('name', ['start_impedance', 'reset_joints'])
def test_nothing_starts_while_a_person_stops_the_arm(
  governor, driver, monkeypatch, mode, name
):
  started = []
  monkeypatch.setattr(driver, name, lambda: started.append(1))
  driver.mode = mode
  # The watchdog has not looked yet.
  with pytest.raises(protocol.UserStopError, match=mode):
    getattr(governor, name)()
  driver.mode = 'idle'
  governor.check()
  assert not started
  assert governor.status()['held'] == (mode == 'user_stopped')


@pytest.mark.parametrize('name', ['start_impedance', 'reset_joints'])
def test_what_came_up_while_a_person_stops_the_arm_is_stopped(
  governor, driver, monkeypatch, name
):
  # There is no state before a controller runs.
  driver.silent_since = 0.0

  def start():
    driver.silent_since, driver.mode, driver.running = (
      None,
      'user_stopped',
      True,
    )

  monkeypatch.setattr(driver, name, start)
  with pytest.raises(protocol.UserStopError):
    getattr(governor, name)()
  assert not driver.running
  driver.mode = 'moving'  # somebody lets go of it
  assert governor.status()['held']
  with pytest.raises(governor_lib.RefusedError, match='held'):
    governor.start_impedance()


def test_a_start_is_refused_over_http_while_a_person_stops_the_arm(driver):
  governor = governor_lib.Governor(driver, limits_lib.Limits())
  client = app_lib.make_app(driver, governor).test_client()
  driver.mode, driver.running = 'user_stopped', False
  answer = client.post('/startimp')
  assert (answer.status_code, answer.json['kind']) == (503, 'user_stop')
  answer = client.post('/startimp')
  assert (answer.status_code, answer.json['kind']) == (409, 'held')
  assert client.post('/release').json['kind'] == 'user_stop'
  assert client.post('/clearerr').json['kind'] == 'held'
  driver.mode = 'idle'
  governor.check()
  assert not driver.running and not driver.recoveries
  assert client.post('/release').status_code == 200
  assert client.post('/startimp').status_code == 200
  assert driver.running


def test_a_controller_that_is_being_stopped_is_not_started(
  governor, driver, monkeypatch
):
  begun, freed = threading.Event(), threading.Event()

  def slowly():
    begun.set()
    assert freed.wait(60)

  monkeypatch.setattr(driver, 'stop_impedance', slowly)
  thread = threading.Thread(target=governor.stop_impedance)
  thread.start()
  assert begun.wait(60)
  for call in (governor.start_impedance, governor.stop_impedance):
    with pytest.raises(governor_lib.RefusedError, match='being stopped'):
      call()
  freed.set()
  thread.join(60)
  governor.start_impedance()
