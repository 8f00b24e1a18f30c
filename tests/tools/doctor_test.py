"""Tests for doctor: against the real server over an arm without dynamics."""

import dataclasses
import os
import pathlib
import socket
import threading
import time

import numpy as np
import pytest

from robot_server import testing
from serl.environments.franka import assembly
from serl.environments.franka import cameras
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.franka import tasks
from serl.teleop import devices
from serl.teleop import gamepad
from serl.teleop import opening
from serl.tools import doctor
from tests.teleop import gamepad_stand_in

# The port of discard, where nobody is.
_NOWHERE = 'http://127.0.0.1:9/'
_CAMERA = config_lib.CameraConfig('wrist', '0123')


@pytest.fixture
def driver():
  return testing.KinematicDriver()


@pytest.fixture
def url(driver):
  with testing.serving(driver) as url:
    yield url


@pytest.fixture
def robot(url):
  robot = client.HttpRobot(url)
  yield robot
  robot.close()


def test_a_sound_arm_passes(robot, url):
  assert doctor.check_server(robot).verdict == doctor.PASS
  assert 'KinematicDriver' in doctor.check_server(robot).found
  assert doctor.check_controller(robot).verdict == doctor.PASS
  assert doctor.check_clocks(url).verdict == doctor.PASS


def test_a_server_that_is_not_there_fails_with_what_to_do():
  finding = doctor.check_server(client.HttpRobot(_NOWHERE))
  assert finding.verdict == doctor.FAIL
  assert 'python -m robot_server' in finding.advice
  for check in (doctor.check_controller, doctor.check_round_trips):
    assert check(client.HttpRobot(_NOWHERE)).verdict == doctor.FAIL
  assert doctor.check_clocks(_NOWHERE).verdict == doctor.FAIL


def test_a_missing_token_fails(driver):
  with testing.serving(driver, token='a token of some length') as url:
    finding = doctor.check_server(client.HttpRobot(url))
    assert (finding.verdict, '401' in finding.found) == (doctor.FAIL, True)
    assert '--token-file' in finding.advice
    # The clock is told to everybody.
    assert doctor.check_clocks(url).verdict == doctor.PASS


def test_an_arm_in_a_reflex_fails(robot, driver):
  driver.mode, driver.faults = 'reflex', ('cartesian_reflex',)
  finding = doctor.check_controller(robot)
  assert finding.verdict == doctor.FAIL
  assert 'cartesian_reflex' in finding.found
  # Nothing was cleared, nothing moved.
  assert driver.mode == 'reflex' and not driver.commands


def test_a_force_at_rest_is_told(robot, driver):
  driver.force = np.array((0.0, 0.0, -15.0))
  finding = doctor.check_controller(robot)
  assert finding.verdict == doctor.WARN and '15.0 N' in finding.found


@pytest.mark.parametrize(
  'limits, verdict',
  [
    ((1e4, 2e4), doctor.PASS),
    ((0.0, 1e4), doctor.WARN),
    ((0.0, 0.0), doctor.FAIL),
  ],
)
def test_round_trips_are_judged(robot, monkeypatch, limits, verdict):
  monkeypatch.setattr(doctor, '_FAST_MS', limits[0])
  monkeypatch.setattr(doctor, '_SLOW_MS', limits[1])
  finding = doctor.check_round_trips(robot)
  assert finding.verdict == verdict and 'ms' in finding.found


def test_a_clock_that_is_off_is_told(url):
  finding = doctor.check_clocks(url, now=lambda: 0.0)
  assert finding.verdict == doctor.WARN and 'NTP' in finding.advice


class _Camera:
  """Gives a picture each time it is asked."""

  def __init__(self, brightness, step=1 / 30, exposure=None):
    self._brightness, self._step, self._time = brightness, step, 0.0
    self.exposure = lambda: exposure
    self.closed = False

  def read(self):
    self._time += self._step
    image = np.full((8, 8, 3), self._brightness, np.uint8)
    return cameras.Frame(image, self._time)

  def close(self):
    self.closed = True


@pytest.mark.parametrize(
  'camera, verdict, found',
  [
    (_Camera(120), doctor.PASS, '30 of 30 pictures'),
    (_Camera(120, step=0.1), doctor.WARN, '10 of 30 pictures'),
    (_Camera(5), doctor.WARN, 'brightness 5 '),
    (_Camera(254), doctor.WARN, 'brightness 254 '),
  ],
)
def test_a_camera_is_watched(monkeypatch, camera, verdict, found):
  monkeypatch.setattr(doctor, '_WATCHED_S', 0.05)
  monkeypatch.setattr(assembly, 'open_camera', lambda *_: camera)
  finding = doctor.check_camera(_CAMERA, 8)
  assert finding.verdict == verdict
  assert found in finding.found
  assert camera.closed


@pytest.mark.parametrize(
  'asked, told, verdict, found',
  [
    (None, (8500.0, True), doctor.PASS, 'exposure 8500, automatic'),
    (8000, (8010.0, False), doctor.PASS, 'exposure 8010'),
    (8000, (10_000.0, False), doctor.WARN, 'exposure 10000'),
    (8000, (8000.0, True), doctor.WARN, 'exposure 8000, automatic'),
    (8000, None, doctor.PASS, 'brightness 120'),
  ],
)
def test_the_exposure_is_the_sensors(monkeypatch, asked, told, verdict, found):
  monkeypatch.setattr(doctor, '_WATCHED_S', 0.05)
  exposure = told and cameras.Exposure(*told)
  camera = _Camera(120, exposure=exposure)
  monkeypatch.setattr(assembly, 'open_camera', lambda *_: camera)
  config = dataclasses.replace(_CAMERA, exposure=asked)
  finding = doctor.check_camera(config, 8)
  assert finding.verdict == verdict
  assert found in finding.found


def test_no_check_that_raises_ends_the_others(monkeypatch, tmp_path):
  def fail(*_):
    raise RuntimeError('Camera not connected!')

  monkeypatch.setattr(assembly, 'open_camera', fail)
  monkeypatch.setattr(opening, 'open_device', fail)
  config = dataclasses.replace(tasks.load('peg_insert'), url=_NOWHERE)
  findings = {f.name: f for f in doctor.examine(config, None, tmp_path)}
  for name in ('camera wrist_1', 'camera wrist_2', 'device'):
    assert findings[name].verdict == doctor.FAIL
    assert 'Camera not connected!' in findings[name].found
  assert 'accelerator' in findings


def test_a_camera_that_is_not_there_fails():
  pytest.importorskip('cv2', reason='the extra [franka] is missing')
  config = dataclasses.replace(_CAMERA, kind='opencv', serial='/dev/none')
  finding = doctor.check_camera(config, 8)
  assert finding.verdict == doctor.FAIL and '/dev/none' in finding.found


def test_devices_that_are_not_there_are_a_warning(monkeypatch):
  def missing(name):
    raise devices.DeviceError(f'there is no {name}')

  monkeypatch.setattr(opening, 'open_device', missing)
  found = 'there is no spacemouse\nthere is no gamepad'
  finding = doctor.check_device()
  assert finding == ('device', doctor.WARN, found, finding.advice)


@pytest.fixture
def pad(monkeypatch, tmp_path):
  """A gamepad, the only device."""
  monkeypatch.setenv('SERL_SPACEMOUSE', str(tmp_path / 'none'))
  pad = gamepad_stand_in.Pad(tmp_path / 'js0')
  pad.plug_in()
  monkeypatch.setenv(gamepad.PATH_VARIABLE, str(pad.path))
  yield pad
  if pad.path.exists():
    pad.unplug()


def _checked_while(act):
  """Returns what the check finds while `act` is done to the device."""
  thread = threading.Thread(target=act)
  thread.start()
  finding = doctor.check_device(20.0)
  thread.join()
  return finding


def test_a_motion_is_asked_for_and_shown(pad, capsys):
  def act():
    gamepad_stand_in.wait_for(lambda: not pad.unread)
    pad.press(0)
    pad.move(0, 0.6)
    time.sleep(0.5)
    pad.move(0, 0.0)

  finding = _checked_while(act)
  assert finding.verdict == doctor.PASS
  assert finding.found == 'gamepad: y +0.53, closes'
  assert 'Move the gamepad, and let go: 20 s.' in capsys.readouterr().out


def test_a_device_that_nobody_moves_is_waited_for_no_longer(pad):
  finding = doctor.check_device(0.1)
  assert finding.verdict == doctor.WARN
  assert 'gamepad: no clear motion' in finding.found
  assert 'SERL_SPACEMOUSE' in finding.advice


def test_a_device_that_moves_without_an_end_is_told(pad):
  pad.move(0, 0.6)
  finding = doctor.check_device(1.0)
  assert finding.verdict == doctor.WARN and 'it goes on' in finding.found


def test_a_device_that_is_lost_meanwhile_is_told(pad):
  def act():
    gamepad_stand_in.wait_for(lambda: not pad.unread)
    pad.unplug()

  finding = _checked_while(act)
  assert finding.verdict == doctor.WARN and 'is gone' in finding.found


@pytest.mark.parametrize(
  'little, least, verdict',
  [(0, 0, doctor.PASS), (1e9, 0, doctor.WARN), (1e9, 1e9, doctor.FAIL)],
)
def test_the_room_on_the_disk_is_judged(
  tmp_path, monkeypatch, little, least, verdict
):
  monkeypatch.setattr(doctor, '_LITTLE_GB', little)
  monkeypatch.setattr(doctor, '_LEAST_GB', least)
  finding = doctor.check_disk(tmp_path / 'not' / 'yet')
  assert finding.verdict == verdict
  assert str(tmp_path) in finding.found


def test_a_port_in_use_fails():
  with socket.create_server(('', 0)) as server:
    port = server.getsockname()[1]
    assert doctor.check_port(port).verdict == doctor.FAIL
  assert doctor.check_port(port).verdict == doctor.PASS


def test_the_ports_of_two_machines_are_looked_at(monkeypatch, tmp_path):
  monkeypatch.setattr(doctor, 'check_camera', lambda *_: None)
  config = dataclasses.replace(tasks.load('peg_insert'), url=_NOWHERE)
  look = lambda *ports: {
    finding.name: finding.verdict
    for finding in doctor.examine(config, None, tmp_path, ports)
    if finding and finding.name.startswith('port')
  }
  assert {'port 5300', 'port 5301'} == set(look())
  with socket.create_server(('', 0)) as server:
    port = server.getsockname()[1]
    monkeypatch.setattr(doctor, '_PORTS', (port,))
    # A run may use others, or this is its tunnel.
    assert look() == {f'port {port}': doctor.WARN}
    assert look(port) == {f'port {port}': doctor.FAIL}


@pytest.mark.parametrize(
  'allowed, verdict', [(True, doctor.PASS), (False, doctor.WARN)]
)
def test_whether_control_loops_go_first_is_told(monkeypatch, allowed, verdict):
  monkeypatch.setattr(robot_lib, 'take_precedence', lambda: allowed)
  assert doctor.check_precedence().verdict == verdict


def test_the_check_leaves_the_priority_of_the_rest():
  before = os.getpriority(os.PRIO_PROCESS, 0)
  doctor.check_precedence()
  assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_the_accelerator_is_told():
  import jax

  finding = doctor.check_accelerator()
  on_cpu = jax.default_backend() == 'cpu'
  assert finding.verdict == (doctor.WARN if on_cpu else doctor.PASS)


def test_the_exit_code_is_that_of_the_worst(url, tmp_path, capsys, monkeypatch):
  # Of this machine's own state nothing may fail.
  monkeypatch.setattr(doctor, '_SLOW_MS', np.inf)
  monkeypatch.setattr(doctor, '_LEAST_GB', 0.0)
  ok = ['peg_insert_state', '--url', url, '--folder', str(tmp_path)]
  assert doctor.main(ok) == 0
  shown = capsys.readouterr().out
  assert 'server' in shown and 'round trips' in shown
  with socket.create_server(('', 0)) as server:
    port = str(server.getsockname()[1])
    assert doctor.main([*ok, '--port', port]) == 1
  assert 'fail' in capsys.readouterr().out


def test_the_token_comes_from_a_file(tmp_path, monkeypatch):
  given = []
  monkeypatch.setattr(
    doctor, 'examine', lambda config, token, *_: given.append(token) or []
  )
  (tmp_path / 'token').write_text('of sixteen characters\n')
  doctor.main(['peg_insert', '--token-file', str(tmp_path / 'token')])
  assert given == ['of sixteen characters']


def test_every_camera_of_the_task_is_checked(monkeypatch):
  monkeypatch.setattr(
    doctor, 'check_camera', lambda camera, size: (camera.name, size)
  )
  findings = doctor.examine(
    dataclasses.replace(tasks.load('peg_insert'), url=_NOWHERE),
    None,
    pathlib.Path(),
    (),
  )
  names = [finding[0] for finding in findings]
  # Without a server there is nothing to say of the arm.
  assert names[:3] == ['server', 'wrist_1', 'wrist_2']


def test_an_unknown_task_is_refused(capsys):
  with pytest.raises(SystemExit):
    doctor.main(['none'])
  assert 'expected one of' in capsys.readouterr().err
