"""Tests for client: over the real server, and over servers that fail."""

import dataclasses
import socket
import threading
import time

import numpy as np
import pytest

from robot_server import limits
from robot_server import protocol
from robot_server import testing
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.franka.tasks import peg_insert

_POSE = (0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)
# A busy machine may let a request wait for its thread.
_PATIENT = limits.Limits(command_ttl=60.0)


@pytest.fixture
def driver():
  return testing.KinematicDriver()


@pytest.fixture
def robot(driver):
  with testing.serving(driver, _PATIENT) as url:
    robot = client.HttpRobot(url, patience=60.0)
    yield robot
    robot.close()


def test_a_state_is_the_arms_on_the_clock_of_the_client(robot, driver):
  driver.force = np.array((1.0, 2.0, 3.0))
  before = driver.now()
  state = robot.read_state()
  np.testing.assert_allclose(state.pose, _POSE)
  np.testing.assert_array_equal(state.force, (1.0, 2.0, 3.0))
  assert state.jacobian.shape == (6, 7)
  assert state.mode == 'moving'
  assert before - 0.01 <= state.time <= driver.now()


def test_a_state_of_another_clock_is_dated_by_the_clients(driver):
  with testing.serving(driver) as url:
    state = client.HttpRobot(url, now=lambda: 1000.0).read_state()
  assert 999.0 < state.time <= 1000.0


def test_commands_arrive(robot, driver):
  robot.command_pose(np.array((0.51, *_POSE[1:])))
  assert driver.commands[0][0] == pytest.approx(0.51)
  robot.close_gripper()
  robot.open_gripper()
  assert driver.gripper.commands == [255, 0]
  robot.set_compliance(dataclasses.asdict(config_lib.PRECISION))
  assert driver.compliance['translational_stiffness'] == 3000.0
  robot.reset_joints()
  assert driver.q.any()


def test_a_command_tells_when_it_was_sent(robot, driver):
  robot.command_pose(_POSE)  # the server's clock is not known yet
  robot.read_state()
  robot.command_pose(_POSE)
  now = robot._now
  robot._now = lambda: now() - 100.0  # as if the network had kept it
  with pytest.raises(robot_lib.RobotError, match='409, late'):
    robot.command_pose(_POSE)
  assert len(driver.commands) == 2


def test_two_clients_are_told_apart_and_one_of_two_robots_is_not(driver):
  with testing.serving(driver, _PATIENT) as url:
    make = lambda name=None: client.HttpRobot(url, patience=60.0, name=name)
    make('run').command_pose(_POSE)
    # As those of a run with several tasks do.
    make('run').command_pose(_POSE)
    with pytest.raises(robot_lib.RobotError, match=r'409, led: .*run at 127'):
      make().command_pose(_POSE)
    names = {make()._headers[protocol.CLIENT] for _ in range(10)}
    assert len(names) == 10
    assert all(name.startswith(client.process_name()) for name in names)


@pytest.mark.parametrize(
  'now, sent, ahead',
  [
    (7.0, -np.inf, 5.0),  # at first: at the most by what the answer took
    (7.0, 6.0, 5.0),
    # By the first estimate 20 ms more: the next command is not the older one.
    (7.0, 8.02, 5.02),
    # The server's computer has started anew.
    (0.5, 1e6, -1.5),
  ],
)
def test_the_servers_clock_does_not_go_back_a_little(now, sent, ahead):
  # It was asked at 2 and answered at 3.
  assert client._ahead(2.0, 3.0, now, sent) == pytest.approx(ahead)


def test_one_connection_serves_all(driver):
  with testing.serving(driver, _PATIENT) as url:
    robot = client.HttpRobot(url, patience=60.0)
    for _ in range(5):
      robot.read_state()
      robot.command_pose(_POSE)
    assert robot._pool.num_connections == 1
    assert robot._pool.num_requests == 10


def test_a_reflex_is_told_and_cleared(robot, driver):
  driver.mode, driver.faults = 'reflex', ('cartesian_reflex',)
  with pytest.raises(robot_lib.RobotError, match='cartesian_reflex'):
    robot.read_state()
  robot.recover()
  assert robot.read_state().mode == 'moving'


def test_an_arm_that_somebody_holds_is_told(robot, driver):
  robot._post('hold')
  with pytest.raises(robot_lib.RobotError, match='holds the arm'):
    robot.read_state()
  with pytest.raises(robot_lib.RobotError, match='409, held'):
    robot.command_pose(_POSE)


def test_a_silent_arm_is_a_fault(robot, driver):
  driver.silent_since = driver.now() - 1.0
  with pytest.raises(robot_lib.RobotError, match=r'\d s old'):
    robot.read_state()


def test_a_stopped_controller_is_started(robot, driver):
  driver.mode, driver.running = 'idle', False
  driver.start_impedance = lambda: setattr(driver, 'mode', 'moving')
  robot.recover()
  assert robot.read_state().mode == 'moving'


def test_after_a_users_stop_the_errors_are_cleared_first(robot, driver):
  driver.mode, driver.running = 'idle', False
  done = []
  driver.clear_errors = lambda: done.append('cleared')

  def start():
    done.append('started')
    # An arm stays idle until it was cleared, whoever starts a controller.
    if done == ['cleared', 'started']:
      driver.mode = 'moving'

  driver.start_impedance = start
  robot.recover()
  assert robot.read_state().mode == 'moving'


def test_a_wrong_command_is_a_mistake_and_not_tried_again(robot):
  with pytest.raises(client.RequestError, match='400, command'):
    robot.command_pose((0.5, 0.0, 0.3, 5.0, 0.0, 0.0, 0.0))
  assert not issubclass(client.RequestError, robot_lib.RobotError)


def test_the_token_is_sent(driver):
  with testing.serving(driver, token='a secret of some length') as url:
    with pytest.raises(client.RequestError, match=r'401.*--token-file'):
      client.HttpRobot(url).read_state()
    robot = client.HttpRobot(url, token='a secret of some length')
    assert robot.read_state().mode == 'moving'


def test_a_server_that_fails_inside_is_a_fault(robot, driver):
  def broken():
    raise RuntimeError('a bug')

  driver.read_state = broken
  with pytest.raises(robot_lib.RobotError, match='500'):
    robot.read_state()


def test_a_server_that_is_gone_is_a_fault(driver):
  with testing.serving(driver) as url:
    robot = client.HttpRobot(url)
    robot.read_state()
  with pytest.raises(
    robot_lib.RobotError, match=r'No answer .*\(.*[Rr]efused\); is it'
  ):
    robot.read_state()


def test_it_goes_on_when_the_server_is_back(driver):
  with testing.serving(driver) as url:
    robot = client.HttpRobot(url)
    robot.read_state()
  port = int(url.rstrip('/').rpartition(':')[2])
  with testing.serving(driver, port=port):
    assert robot.read_state().mode == 'moving'


class _HangingServer:
  """Takes connections and answers nothing; counts the requests."""

  def __init__(self):
    self.requests = 0
    self._socket = socket.create_server(('127.0.0.1', 0))
    self.url = f'http://127.0.0.1:{self._socket.getsockname()[1]}/'
    self._kept = []
    threading.Thread(target=self._run, daemon=True).start()

  def _run(self):
    while True:
      try:
        connection, _ = self._socket.accept()
      except OSError:
        return
      self._kept.append(connection)
      self.requests += bool(connection.recv(65536))

  def close(self):
    self._socket.close()
    for connection in self._kept:
      connection.close()


@pytest.fixture
def hanging():
  server = _HangingServer()
  yield server
  server.close()


def test_a_command_without_an_answer_is_a_fault_and_not_repeated(hanging):
  with pytest.raises(robot_lib.RobotError, match='No answer'):
    client.HttpRobot(hanging.url).command_pose(_POSE)
  assert hanging.requests == 1


def test_who_has_patience_waits_for_a_slow_answer(driver):
  read = driver.read_state

  def slowly():
    time.sleep(1.5)
    return read()

  driver.read_state = slowly
  with testing.serving(driver, _PATIENT) as url:
    with pytest.raises(robot_lib.RobotError, match='No answer'):
      client.HttpRobot(url).health()
    patient = client.HttpRobot(url, patience=60.0)
    assert patient.read_state().mode == 'moving'


def test_what_only_reads_is_asked_once_more(hanging):
  with pytest.raises(robot_lib.RobotError, match='No answer'):
    client.HttpRobot(hanging.url).read_state()
  assert hanging.requests == 2


def test_no_proxy_is_between_the_client_and_the_server(driver, monkeypatch):
  for name in ('http_proxy', 'https_proxy', 'all_proxy'):
    for each in (name, name.upper()):
      monkeypatch.setenv(each, 'http://127.0.0.1:9')
  monkeypatch.setenv('no_proxy', '')
  with testing.serving(driver, _PATIENT) as url:
    assert client.HttpRobot(url, patience=60.0).health()['ok']


@pytest.mark.parametrize(
  'url',
  [
    '',
    'localhost:5000',
    'ftp://robot/',
    'http://:5000/',
    'http://robot:0/',
    'http://robot:70000/',
    'http://robot:port/',
  ],
)
def test_an_address_that_is_none_is_refused(url):
  with pytest.raises(ValueError, match="like 'http://HOST"):
    client.HttpRobot(url)
  with pytest.raises(ValueError, match="like 'http://HOST"):
    dataclasses.replace(peg_insert.STATE, url=url)


def test_the_environment_runs_over_http(driver):
  config = dataclasses.replace(
    peg_insert.STATE,
    lift=0.0,
    settle_seconds=0.0,
    move_seconds=0.5,
    control_rate=50.0,
    episode_steps=5,
    reset=(0.55, 0.05, 0.3, 3.11, 0.0147, -0.0079),
    random_xy=0.0,
  )
  allowed = dataclasses.replace(
    _PATIENT, max_speed=5.0, max_rotation_speed=50.0
  )
  with testing.serving(driver, allowed) as url:
    environment = environment_lib.FrankaEnvironment(
      config, client.HttpRobot(url), {}, robot_lib.RealTimeClock()
    )
    timestep = environment.reset()
    while not timestep.last():
      timestep = environment.step(np.array([1, 0, 0, 0, 0, 0, 0], np.float32))
    extras = environment.step_extras()
    assert timestep.observation['tcp_pose'][0] > 0.55
    assert extras['command_time'] < extras['acknowledgement_time']
    environment.close()
