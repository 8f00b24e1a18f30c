"""The whole server over a real roscore, with stand-ins for the devices.

The server runs as users run it, in a process of its own; the stand-ins speak
the topics of the real arm and of the real grippers.
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client

import httpx
import numpy as np
import psutil
import pytest

from robot_server import protocol
from robot_server import ros_driver

ROOT = pathlib.Path(__file__).parents[2]
STAND_IN = pathlib.Path(__file__).parent / 'stand_in'
DEBIAN = '/usr/lib/python3/dist-packages'
ROS_PYTHON = '/usr/bin/python3'
START_S = 60.0

# Debian's packages stand behind those of this Python, as by a .pth file.
BOOT = (
  'import runpy, sys; '
  f'sys.path.append({DEBIAN!r}); '
  "runpy.run_module('robot_server', run_name='__main__', alter_sys=True)"
)
PROBE = (
  f'import sys; sys.path.append({DEBIAN!r}); '
  'import rospy, dynamic_reconfigure.client, rosgraph'
)
COMPLIANCE_NODE = (
  '/cartesian_impedance_controllerdynamic_reconfigure_compliance_param_node'
)
POSE = [0.52, 0.01, 0.31, 1.0, 0.0, 0.0, 0.0]
HOME = [0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
HELD = 0.51  # m: below it the arm is not on its way from HOME to POSE


def why_not():
  """Returns why these tests cannot run here; empty if they can."""
  for program in ('roscore', 'roslaunch', 'rosrun'):
    if not os.access(f'/usr/bin/{program}', os.X_OK):
      return f'ROS has no {program} here; make test-deps installs it'
  probe = subprocess.run(
    [sys.executable, '-c', PROBE], capture_output=True, text=True
  )
  return probe.stderr.strip().splitlines()[-1] if probe.returncode else ''


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or 'ROS is here')


def free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


class System:
  """A server in its process, with the master behind it."""

  def __init__(self, url, master, process, environment):
    self.client = httpx.Client(base_url=url, timeout=60)
    self.process = process
    self.environment = environment
    self._master = xmlrpc.client.ServerProxy(master)

  def post(self, route, body=None):
    return self.client.post(route, json=body)

  def get(self, name, default=None):
    code, _, value = self._master.getParam('/test', name)
    return value if code == 1 else default

  def set(self, name, value):
    self._master.setParam('/test', name, value)

  def end_master(self):
    _, _, pid = self._master.getPid('/test')
    os.kill(pid, signal.SIGTERM)

  def wait_until(self, is_so, what, timeout=START_S):
    give_up = time.monotonic() + timeout
    while not is_so():
      assert time.monotonic() < give_up, f'{what}: {self.health()}'
      assert self.process.poll() is None, 'the server has ended'
      time.sleep(0.02)

  def health(self):
    try:
      return self.client.get('health').json()
    except httpx.TransportError as error:
      return {'ok': False, 'error': str(error)}

  def is_ready(self):
    return self.health()['ok']

  def move_to(self, pose):
    """Commands a pose until the arm is there."""
    # The test before may have silenced a part of it for longer than allowed.
    self.wait_until(
      lambda: self.post('getstate').status_code == 200, 'all parts tell'
    )

    def is_there():
      answer = self.post('step', {'arr': pose})
      if answer.status_code == 200:
        return np.allclose(answer.json()['pose'], pose, atol=1e-3)
      # A busy machine, which the server takes for one that lets the arm wait.
      assert answer.json()['kind'] in ('late', 'stale_state'), answer.text
      return False

    self.wait_until(is_there, f'the arm goes to {pose}')


@contextlib.contextmanager
def serving(folder, *arguments, ends_with=0):
  """Runs a server, its roscore and its stand-ins."""
  workspace = folder / 'workspace'
  subprocess.run(
    [ROS_PYTHON, STAND_IN / 'workspace.py', workspace],
    check=True,
    capture_output=True,
    env={'PATH': '/usr/bin:/bin'},
  )
  port, ros_port = free_port(), free_port()
  master = f'http://127.0.0.1:{ros_port}'
  environment = {
    **os.environ,
    'ROS_MASTER_URI': master,
    'ROS_IP': '127.0.0.1',
    'ROS_HOME': str(folder / 'ros'),
    'ROS_LOG_DIR': str(folder / 'log'),
    'ROS_PACKAGE_PATH': str(workspace / 'share'),
    'PYTHONPATH': os.pathsep.join([str(workspace / 'python'), str(ROOT)]),
    'PATH': '/usr/bin:/bin',
  }
  log = folder / 'server.log'
  with log.open('w') as output:
    process = subprocess.Popen(
      [
        sys.executable,
        '-c',
        BOOT,
        '--robot-ip=127.0.0.1',
        f'--port={port}',
        f'--audit-log={folder / "audit.jsonl"}',
        *arguments,
      ],
      env=environment,
      stdout=output,
      stderr=subprocess.STDOUT,
    )
  system = System(f'http://127.0.0.1:{port}/', master, process, environment)
  try:
    system.wait_until(system.is_ready, 'the server is ready')
    yield system
  except BaseException:
    print(log.read_text()[-5000:])
    raise
  finally:
    process.terminate()
    try:
      process.wait(60)
    except subprocess.TimeoutExpired:
      process.kill()
      raise
    system.client.close()
  assert process.returncode == ends_with


@pytest.fixture(scope='module')
def robotiq(tmp_path_factory):
  with serving(
    tmp_path_factory.mktemp('robotiq'),
    '--gripper=robotiq',
    '--gripper-ip=127.0.0.2',
  ) as system:
    yield system


@pytest.fixture(scope='module')
def franka(tmp_path_factory):
  with serving(
    tmp_path_factory.mktemp('franka'),
    '--gripper=franka',
    '--joint-reset-timeout=5',
  ) as system:
    yield system


def test_the_state(robotiq):
  robotiq.move_to(HOME)
  state = robotiq.post('getstate').json()

  np.testing.assert_allclose(state['pose'], HOME, atol=1e-3)
  assert state['jacobian'][0] == [0, 1, 2, 3, 4, 5, 6]
  assert state['jacobian'][5] == [50, 51, 52, 53, 54, 55, 56]
  # The sum of 0.1 i (10 row + i) over the joints i.
  np.testing.assert_allclose(state['vel'], [9.1 + 21 * row for row in range(6)])
  np.testing.assert_allclose(state['dq'], np.arange(7) / 10)
  assert len(state['q']) == 7
  assert state['force'] == state['torque'] == [0, 0, 0]


def test_every_route_that_reads(robotiq):
  for route in (
    'getpos',
    'getpos_euler',
    'getvel',
    'getforce',
    'gettorque',
    'getq',
    'getdq',
    'getjacobian',
    'getstate',
    'get_gripper',
  ):
    assert robotiq.post(route).status_code == 200, route
  np.testing.assert_allclose(
    np.abs(robotiq.post('getpos_euler').json()['pose'][3]), np.pi
  )


def test_the_wrench_arrives(robotiq):
  robotiq.set('/stand_in/wrench', [1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
  robotiq.wait_until(
    lambda: robotiq.post('getforce').json()['force'] == [1, 2, 3],
    'the force arrives',
  )
  assert robotiq.post('gettorque').json()['torque'] == [0.1, 0.2, 0.3]
  robotiq.set('/stand_in/wrench', [0.0] * 6)


def test_pose_commands_arrive(robotiq):
  turn = [np.cos(0.1), np.sin(0.1), 0.0, 0.0]
  robotiq.move_to([*POSE[:3], *turn])
  robotiq.move_to(HOME)


def test_parameters_arrive(robotiq):
  given = {'translational_stiffness': 2500.0, 'rotational_clip_neg_x': 0.02}
  assert robotiq.post('update_param', given).status_code == 200
  for name, value in given.items():
    assert robotiq.get(f'{COMPLIANCE_NODE}/{name}') == value

  assert robotiq.post('update_param', {'rotational_Ki': 101}).status_code == 400
  assert robotiq.get(f'{COMPLIANCE_NODE}/rotational_Ki') == 0


def test_the_robotiq_gripper(robotiq):
  position = lambda: robotiq.post('get_gripper').json()['gripper']

  assert robotiq.post('activate_gripper').status_code == 200
  robotiq.post('close_gripper')
  robotiq.wait_until(lambda: position() == 255, 'it closes')
  robotiq.post('open_gripper')
  robotiq.wait_until(lambda: position() == 0, 'it opens')
  robotiq.post('move_gripper', {'gripper_pos': 100})
  robotiq.wait_until(lambda: position() == 100, 'it moves')

  before = robotiq.get('/stand_in/outputs')
  assert robotiq.post('reset_gripper').status_code == 200
  robotiq.wait_until(
    lambda: (
      robotiq.get('/stand_in/outputs')
      == {name: count + 1 for name, count in before.items()}
    ),
    'it was reset and activated',
  )


def test_the_joints_are_reset_by_the_other_controller(robotiq):
  robotiq.set('/stand_in/joints', [0.3] * 7)
  recoveries = robotiq.get('/stand_in/recoveries', 0)

  response = robotiq.post('jointreset')

  assert response.status_code == 200, response.text
  joints = robotiq.post('getq').json()['q']
  np.testing.assert_allclose(joints, [0, 0, 0, -1.9, 0, 2, 0], atol=1e-2)
  assert robotiq.get('/stand_in/recoveries') > recoveries
  robotiq.move_to(HOME)


def test_a_reflex_is_recovered_from(robotiq):
  robotiq.post('release')
  robotiq.set('/stand_in/reflex', True)
  robotiq.wait_until(
    lambda: robotiq.health()['mode'] == 'reflex', 'the reflex is noticed'
  )

  response = robotiq.post('pose', {'arr': HOME})

  assert response.status_code == 503
  assert response.json()['kind'] == 'reflex'
  assert 'cartesian_reflex' in response.json()['error']
  robotiq.wait_until(robotiq.is_ready, 'the arm is recovered')
  robotiq.move_to(HOME)

  robotiq.set('/stand_in/reflex', True)
  robotiq.wait_until(lambda: not robotiq.is_ready(), 'the reflex is noticed')
  assert robotiq.post('clearerr').status_code == 200
  robotiq.wait_until(robotiq.is_ready, 'the arm is recovered')


def test_a_state_without_a_jacobian_is_no_state(robotiq):
  robotiq.set('/stand_in/silent_jacobian', True)
  robotiq.wait_until(
    lambda: robotiq.post('getvel').status_code == 503, 'it is noticed'
  )
  assert 'franka_jacobian' in robotiq.post('getvel').json()['error']
  assert robotiq.post('pose', {'arr': HOME}).status_code == 503

  robotiq.set('/stand_in/silent_jacobian', False)
  robotiq.wait_until(robotiq.is_ready, 'it is back')


def test_a_state_of_zeros_is_an_error_and_passes(robotiq):
  robotiq.set('/stand_in/zeros', True)
  robotiq.wait_until(
    lambda: robotiq.post('getstate').status_code == 503, 'it is noticed'
  )
  for route in ('getstate', 'getpos', 'getforce', 'getpos_euler'):
    answer = robotiq.post(route)
    assert (answer.status_code, answer.json()['kind']) == (503, 'bad_state')
  assert robotiq.post('pose', {'arr': HOME}).json()['kind'] == 'bad_state'
  assert robotiq.health()['state'] is None
  robotiq.set('/stand_in/zeros', False)
  robotiq.wait_until(robotiq.is_ready, 'it has passed')
  robotiq.move_to(HOME)


def test_nothing_starts_while_the_stop_is_pressed(robotiq):
  assert robotiq.post('stopimp').status_code == 200
  robotiq.set('/stand_in/stopped', True)
  # There is no state before the controller runs.
  assert robotiq.post('startimp').status_code == 503
  assert robotiq.health()['held']
  robotiq.set('/stand_in/stopped', False)
  time.sleep(0.5)
  assert not robotiq.is_ready()
  assert robotiq.post('startimp').json()['kind'] == 'held'
  assert robotiq.post('release').status_code == 200
  assert robotiq.post('startimp').status_code == 200
  robotiq.wait_until(robotiq.is_ready, 'it is started by those who ask for it')

  robotiq.set('/stand_in/stopped', True)
  robotiq.wait_until(lambda: robotiq.health()['held'], 'the stop is noticed')
  answer = robotiq.post('release')
  assert answer.json()['kind'] == 'user_stop'
  robotiq.set('/stand_in/stopped', False)
  robotiq.wait_until(
    lambda: robotiq.post('release').status_code == 200, 'it is let go of'
  )
  robotiq.wait_until(robotiq.is_ready, 'it is ready')
  robotiq.move_to(HOME)


def test_a_frozen_node_is_noticed_and_goes_on(robotiq):
  pid = robotiq.get('/stand_in/pid')
  os.kill(pid, signal.SIGSTOP)
  robotiq.wait_until(
    lambda: robotiq.post('getstate').status_code == 503, 'it is noticed'
  )
  answer = robotiq.post('step', {'arr': HOME})
  assert answer.json()['kind'] == 'stale_state'

  os.kill(pid, signal.SIGCONT)
  robotiq.wait_until(robotiq.is_ready, 'it is back')
  robotiq.move_to(HOME)


def test_a_killed_node_is_noticed_and_started_anew(robotiq):
  pid = robotiq.get('/stand_in/pid')
  os.kill(pid, signal.SIGKILL)
  robotiq.wait_until(
    lambda: robotiq.post('getstate').json().get('kind') == 'controller',
    'the end of the launch is noticed',
  )
  answer = robotiq.post('pose', {'arr': HOME})
  assert answer.status_code == 503
  assert 'roslaunch' in answer.json()['error']
  assert not robotiq.is_ready()

  assert robotiq.post('startimp').status_code == 200
  assert robotiq.get('/stand_in/pid') != pid
  assert robotiq.post('update_param', {'rotational_Ki': 1}).status_code == 200
  assert robotiq.get(f'{COMPLIANCE_NODE}/rotational_Ki') == 1
  robotiq.move_to(HOME)


def test_stopping_and_starting(robotiq):
  assert robotiq.post('startimp').status_code == 200
  pid = robotiq.get('/stand_in/pid')
  assert robotiq.post('stopimp').status_code == 200
  robotiq.wait_until(
    lambda: robotiq.post('pose', {'arr': HOME}).status_code == 503,
    'commands are refused',
  )
  response = robotiq.post('update_param', {'rotational_Ki': 1})
  assert (response.status_code, response.json()['kind']) == (503, 'controller')

  assert robotiq.post('startimp').status_code == 200
  assert robotiq.get('/stand_in/pid') != pid
  # What runs already stays as it is.
  pid = robotiq.get('/stand_in/pid')
  assert robotiq.post('startimp').status_code == 200
  assert robotiq.get('/stand_in/pid') == pid


def test_a_hold_ends_a_joint_reset(robotiq):
  robotiq.set('/stand_in/stuck', True)
  robotiq.set('/stand_in/joints', [0.3] * 7)
  with contextlib.suppress(httpx.ReadTimeout):
    # Nobody waits for its answer.
    robotiq.client.post('jointreset', timeout=0.1)
  robotiq.wait_until(
    lambda: robotiq.health()['controller'] == 'reset_joints', 'it resets'
  )

  assert robotiq.post('hold').status_code == 200
  robotiq.wait_until(
    lambda: any(
      'stopped meanwhile' in event.get('error', '')
      for event in robotiq.health()['last_commands']
    ),
    'the reset has ended',
  )
  assert robotiq.post('pose', {'arr': HOME}).json()['kind'] == 'held'

  robotiq.set('/stand_in/stuck', False)
  robotiq.post('release')
  assert robotiq.post('startimp').status_code == 200
  robotiq.move_to(HOME)


def test_a_reflex_amid_a_joint_reset_is_told(robotiq):
  robotiq.set('/stand_in/stuck', True)
  robotiq.set('/stand_in/joints', [0.3] * 7)
  answers = []
  thread = threading.Thread(
    target=lambda: answers.append(robotiq.post('jointreset'))
  )
  thread.start()
  robotiq.wait_until(
    lambda: robotiq.health()['controller'] == 'reset_joints', 'it resets'
  )
  while thread.is_alive():
    # Until then it is recovered from.
    robotiq.set('/stand_in/reflex', True)
    time.sleep(0.1)
  robotiq.set('/stand_in/reflex', False)
  robotiq.set('/stand_in/stuck', False)
  answer = answers[0].json()
  assert answer['kind'] == 'joint_reset'
  assert 'the mode reflex (cartesian_reflex)' in answer['error']
  robotiq.post('release')
  robotiq.wait_until(robotiq.is_ready, 'it is ready')
  robotiq.move_to(HOME)


def test_a_second_server_is_refused(robotiq):
  done = subprocess.run(
    [sys.executable, '-c', BOOT, '--robot-ip=127.0.0.1', '--gripper=none'],
    env=robotiq.environment,
    capture_output=True,
    text=True,
    timeout=START_S,
  )
  assert done.returncode == 1
  assert 'another robot server leads the arm' in done.stderr
  robotiq.move_to(POSE)
  robotiq.move_to(HOME)


def test_the_franka_gripper(franka):
  width = lambda: franka.post('get_gripper').json()['gripper']

  franka.post('close_gripper')
  franka.wait_until(lambda: width() == pytest.approx(0.01), 'it closes')
  franka.post('open_gripper')
  franka.wait_until(lambda: width() == pytest.approx(0.08), 'it opens')
  franka.post('move_gripper', {'gripper_pos': 51})
  franka.wait_until(lambda: width() == pytest.approx(0.064), 'it moves')
  for route in ('activate_gripper', 'reset_gripper'):
    assert franka.post(route).status_code == 200


def test_a_joint_reset_that_takes_too_long_is_given_up(franka):
  franka.set('/stand_in/stuck', True)
  franka.set('/stand_in/joints', [0.3] * 7)

  response = franka.post('jointreset')

  assert response.status_code == 503
  assert response.json()['kind'] == 'joint_reset'
  assert '[0.3, 0.3,' in response.json()['error']
  # The impedance controller has the arm again.
  franka.move_to(HOME)
  franka.set('/stand_in/stuck', False)
  assert franka.post('jointreset').status_code == 200


def test_the_arm_is_held_when_its_client_is_gone(franka):
  franka.move_to(HOME)
  franka.post('pose', {'arr': [0.6, *HOME[1:]]})
  franka.wait_until(
    lambda: franka.health()['last_commands'][0]['event'] == 'watchdog',
    'the watchdog holds the arm',
  )


def leave_amid_a_motion(system, number):
  """Ends or stops the server by a signal when it has just sent a pose."""
  system.move_to(HOME)
  system.set('/stand_in/stuck', True)
  # The stand-in looks for its faults 20 times a second.
  time.sleep(0.5)
  system.wait_until(
    lambda: system.post('step', {'arr': POSE}).status_code == 200, 'a pose'
  )
  system.process.send_signal(number)
  assert system.get('/stand_in/pose')[0] < HELD


def demand_held(system):
  # It tells its target as often; that of POSE is told by then.
  time.sleep(0.5)
  give_up = time.monotonic() + START_S
  while system.get('/stand_in/target')[0] > HELD:
    assert time.monotonic() < give_up, system.get('/stand_in/target')
    time.sleep(0.02)


def test_the_arm_is_held_when_its_server_hangs(franka):
  leave_amid_a_motion(franka, signal.SIGSTOP)
  demand_held(franka)

  franka.process.send_signal(signal.SIGCONT)
  franka.set('/stand_in/stuck', False)
  franka.move_to(HOME)


def test_the_arm_is_held_when_its_server_is_killed(tmp_path):
  with serving(tmp_path, '--gripper=none', ends_with=-signal.SIGKILL) as system:
    leave_amid_a_motion(system, signal.SIGKILL)
    demand_held(system)
    # What it has started lives on; it is the arm's.
    os.kill(system.get('/stand_in/pid'), signal.SIGTERM)
    system.end_master()


def test_a_joint_reset_ends_with_its_server(tmp_path):
  with serving(tmp_path, '--gripper=none', ends_with=-signal.SIGKILL) as system:
    system.set('/stand_in/stuck', True)
    impedance = system.get('/stand_in/pid')
    with contextlib.suppress(httpx.ReadTimeout):
      system.client.post('jointreset', timeout=0.1)
    system.wait_until(
      lambda: (
        system.health()['controller'] == 'reset_joints'
        and system.get('/stand_in/pid') != impedance
      ),
      'it resets',
    )
    # Some beats later the guard knows what moves the arm.
    time.sleep(0.5)
    system.process.kill()

    give_up = time.monotonic() + START_S
    with contextlib.suppress(ProcessLookupError):
      while time.monotonic() < give_up:
        os.kill(system.get('/stand_in/pid'), 0)
        time.sleep(0.02)
    assert time.monotonic() < give_up
    system.end_master()


def test_an_arm_is_held_though_its_gripper_is_gone(tmp_path):
  with serving(
    tmp_path, '--gripper=robotiq', '--gripper-ip=127.0.0.2'
  ) as system:
    system.move_to(HOME)
    system.set('/stand_in/stuck', True)
    time.sleep(0.5)
    system.post('step', {'arr': POSE})
    for child in psutil.Process(system.process.pid).children(recursive=True):
      if any('Robotiq2F' in part for part in child.cmdline()):
        child.kill()
    system.wait_until(
      lambda: system.post('getstate').json().get('kind') == 'gripper',
      'it is noticed',
    )
    demand_held(system)
    assert system.post('hold').status_code == 200
    assert system.post('getpos').status_code == 200


def test_a_roscore_that_is_gone_is_told():
  master = xmlrpc.client.ServerProxy(f'http://127.0.0.1:{free_port()}')
  with (
    pytest.raises(protocol.ControllerError, match='no roscore answers'),
    ros_driver.needing_roscore(),
  ):
    master.setParam('/test', '/target_joint_positions', [0.0])


def test_the_stand_in_has_the_controllers_parameters():
  # Those of the nullspace are the real one's too, but no client sets them.
  text = (STAND_IN / 'arm.py').read_text()
  for name in protocol.COMPLIANCE:
    kind = name.rpartition('_clip_')[0] or name
    assert kind in text or 'nullspace' in name
