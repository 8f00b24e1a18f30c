"""What fails, fails safe: the whole way from the loop to the arm over HTTP."""

import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from robot_server import limits
from robot_server import serving
from robot_server import testing
from serl import core
from serl import environment_loop
from serl.demos import files
from serl.environments.franka import cameras as cameras_lib
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib
from serl.replay import adders
from serl.teleop import devices
from serl.teleop import intervention

_SIZE = 8
_CONFIG = config_lib.Config(
  target=(0.5, 0.0, 0.2, 3.14, 0.0, 0.0),
  reset=(0.5, 0.0, 0.3, 3.14, 0.0, 0.0),
  pose_low=(0.3, -0.2, 0.1, 2.8, -0.4, -0.5),
  pose_high=(0.7, 0.2, 0.5, 3.2, 0.4, 0.5),
  action_scale=(0.01, 0.1, 1.0),
  threshold=(0.01, 0.01, 0.01, 0.2, 0.2, 0.2),
  compliance=config_lib.Compliance(),
  control_rate=50.0,
  episode_steps=8,
  settle_seconds=0.0,
  lift=0.05,
  lift_seconds=0.1,
  move_seconds=0.1,
  cameras=(config_lib.CameraConfig('wrist', 'S1'),),
  image_size=_SIZE,
  # A busy machine lets threads wait.
  max_state_age=5.0,
  max_camera_age=5.0,
)
_TTL = 0.5  # s, of a command
_ASIDE = np.array((0, 1, 0, 0, 0, 0, 0), np.float32)


class _Camera:
  def __init__(self):
    self.works = True

  def read(self):
    if not self.works:
      raise cameras_lib.CameraError('the camera is unplugged')
    image = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    return cameras_lib.Frame(image, time.monotonic())

  def close(self):
    pass


class _Mouse:
  """A device that nobody moves, and that may be unplugged."""

  def __init__(self):
    self.gone = False

  def open(self):
    if self.gone:
      raise devices.DeviceError('the mouse is unplugged')
    return self

  def read(self):
    self.open()
    return devices.Command(np.zeros(6, np.float32), 0)

  def close(self):
    pass


class _Actor:
  """Acts alike, stores episodes, and lets things fail at a step of the first.

  They are repaired while the loop waits.
  """

  def __init__(self, fail):
    self.episodes = []
    self._adder = adders.EpisodeAdder([self.episodes.append])
    self._fail = fail
    self._steps = 0
    self.action = _ASIDE

  def select_action(self, observation):
    self._steps += 1
    if self._steps == 4:
      self._fail()
    return self.action

  def observe_first(self, timestep):
    self._adder.add_first(timestep)

  def observe(self, action, next_timestep):
    self._adder.add(action, next_timestep)

  def update(self):
    pass


class _Setup:
  """An arm behind its server, its environment, and the loop over them."""

  def __init__(self):
    # Slow, so that an arm that nobody holds is on its way for seconds.
    self.driver = testing.KinematicDriver(time_constant=1.0)
    self.stack = contextlib.ExitStack()
    allowed = limits.Limits(
      max_speed=5.0, max_rotation_speed=50.0, command_ttl=_TTL
    )
    self.serving = lambda port=0: testing.serving(
      self.driver, allowed, port=port
    )
    self.url = self.stack.enter_context(self.serving())
    self.camera = _Camera()
    self.mouse = _Mouse()
    self.robot = client.HttpRobot(self.url, patience=_TTL)
    self.environment = environment_lib.FrankaEnvironment(
      dataclasses.replace(_CONFIG, url=self.url),
      self.robot,
      {'wrist': self.camera},
      robot_lib.RealTimeClock(),
    )

  def speed(self):
    """Returns the tool's, m/s, whatever a test made of the driver."""
    read = lambda: testing.KinematicDriver.read_state(self.driver).pose[:3]
    before = read()
    time.sleep(0.05)
    return np.linalg.norm(read() - before) / 0.05

  def run(self, fail, repair, waits=1):
    """Runs an episode in which something fails.

    Args:
      fail: makes it fail.
      repair: repairs it, while the loop waits.
      waits: how many times the loop does so before that.

    Returns:
      The episode's metrics, what was stored, the arm's speed when it had to be
      held, and the poses that were sent between that and the repair.
    """
    failed, waited, before, speeds, sent = [], [], [], [], []

    def fail_now():
      failed.append(True)
      fail(actor)

    actor = _Actor(fail_now)

    def wait(seconds):
      time.sleep(0.001)
      if not failed:
        return  # the machine was too slow for a step before
      waited.append(seconds)
      if len(waited) == 1:
        # Longer than a command lives: nothing leads the arm any more.
        time.sleep(1.5 * _TTL)
        speeds.append(self.speed())
        before.append(len(self.driver.commands))
      if len(waited) == waits:
        sent.extend(self.driver.commands[before[0] :])
        repair(actor)

    loop = environment_loop.EnvironmentLoop(
      self.environment,
      intervention.InterventionActor(
        actor, self.mouse.open, self.environment.action_spec()
      ),
      sleep=wait,
    )
    return loop.run_episode(), actor.episodes, speeds[0], sent


@pytest.fixture
def setup():
  setup = _Setup()
  yield setup
  setup.robot.close()
  setup.stack.close()


def _check(metrics, episodes):
  """The first episode, with the fault, left no trace; the second is whole."""
  assert metrics['faults'] >= 1
  assert metrics['episode_length'] == 8
  assert [episode.length for episode in episodes] == [8]


_HELD = 1e-3  # m/s; it was led with 10 times as much


def test_the_run_goes_on_after_a_camera_failed(setup, caplog):
  def fail(_):
    setup.camera.works = False

  def repair(_):
    setup.camera.works = True

  # Two more episodes are tried before it is back.
  metrics, episodes, speed, sent = setup.run(fail, repair, waits=20)
  _check(metrics, episodes)
  assert speed < _HELD
  assert 'the camera is unplugged' in caplog.text
  assert metrics['faults'] >= 3
  # The arm stays meanwhile.
  assert np.ptp(sent, axis=0).max() < 5e-3


def test_the_run_goes_on_after_the_mouse_was_unplugged(setup, caplog):
  def fail(_):
    setup.mouse.gone = True

  def repair(_):
    setup.mouse.gone = False

  metrics, episodes, speed, sent = setup.run(fail, repair, waits=20)
  _check(metrics, episodes)
  assert speed < _HELD
  assert 'the mouse is unplugged' in caplog.text
  assert metrics['faults'] >= 3
  assert sent == []


def test_the_arm_is_held_before_the_watchdog_where_the_mouse_is_lost(setup):
  # Long enough that the watchdog sends nothing in this test.
  patient = limits.Limits(
    max_speed=5.0, max_rotation_speed=50.0, command_ttl=60.0
  )
  setup.stack.close()
  with testing.serving(setup.driver, patient) as url:
    setup.robot = client.HttpRobot(url)
    setup.environment = environment_lib.FrankaEnvironment(
      _CONFIG, setup.robot, {'wrist': setup.camera}, robot_lib.RealTimeClock()
    )
    speeds = []

    def fail():
      setup.mouse.gone = True

    def wait(_):
      speeds.append(setup.speed())
      setup.mouse.gone = False

    environment_loop.EnvironmentLoop(
      setup.environment,
      intervention.InterventionActor(
        _Actor(fail), setup.mouse.open, setup.environment.action_spec()
      ),
      sleep=wait,
    ).run_episode()
    setup.environment.close()
  assert speeds[0] < _HELD


def test_the_run_goes_on_after_the_server_died(setup, caplog):
  port = int(setup.url.rstrip('/').rpartition(':')[2])

  def fail(_):
    setup.stack.close()

  def repair(_):
    setup.stack.enter_context(setup.serving(port))

  # Here nobody holds the arm then; on the real one robot_server.guard does.
  metrics, episodes, _, _ = setup.run(fail, repair)
  _check(metrics, episodes)
  assert "No answer of the robot's server" in caplog.text


def test_the_run_goes_on_after_the_server_answered_500(setup, caplog):
  read = setup.driver.read_state

  def fail(_):
    def broken():
      # The watchdog is no request.
      if threading.current_thread().name == 'watchdog':
        return read()
      raise RuntimeError('a bug in the driver')

    setup.driver.read_state = broken

  def repair(_):
    setup.driver.read_state = read

  metrics, episodes, speed, _ = setup.run(fail, repair)
  _check(metrics, episodes)
  assert speed < _HELD
  assert 'answered 500' in caplog.text


def test_the_run_goes_on_after_the_server_was_deaf(setup, caplog, monkeypatch):
  released = threading.Event()

  def fail(_):
    # Not a request is read any more.
    monkeypatch.setattr(
      serving.wasyncore, 'loop', lambda **_: released.wait(60)
    )

  def repair(_):
    monkeypatch.undo()
    released.set()

  metrics, episodes, speed, _ = setup.run(fail, repair)
  _check(metrics, episodes)
  assert speed < _HELD
  assert "No answer of the robot's server" in caplog.text


def test_the_run_goes_on_after_the_driver_hung(setup, caplog):
  read, released = setup.driver.read_state, threading.Event()

  def fail(_):
    def hanging():
      released.wait(60)
      return read()

    setup.driver.read_state = hanging

  def repair(_):
    setup.driver.read_state = read
    released.set()

  # Likewise.
  metrics, episodes, _, _ = setup.run(fail, repair)
  _check(metrics, episodes)
  assert "No answer of the robot's server" in caplog.text


def test_the_run_goes_on_after_a_reflex(setup, caplog):
  def fail(_):
    setup.driver.mode = 'reflex'
    setup.driver.faults = ('cartesian_reflex',)

  metrics, episodes, speed, _ = setup.run(fail, lambda _: None)
  _check(metrics, episodes)
  assert speed < _HELD
  assert 'cartesian_reflex' in caplog.text
  assert setup.driver.recoveries >= 1


def test_a_policy_that_gives_nan_ends_the_run_with_the_arm_held(setup):
  actor = _Actor(lambda: None)
  actor.action = np.full(7, np.nan, np.float32)
  loop = environment_loop.EnvironmentLoop(
    setup.environment, actor, sleep=lambda seconds: pytest.fail('retried')
  )
  with pytest.raises(environment_lib.ActionError, match='diverged policy'):
    loop.run_episode()
  assert actor.episodes == []
  time.sleep(1.5 * _TTL)
  assert setup.speed() < _HELD


def test_a_policy_that_thinks_too_long_is_waited_for_by_an_arm_at_rest(setup):
  speeds = []

  def think():
    time.sleep(1.5 * _TTL)
    speeds.append(setup.speed())

  actor = _Actor(think)
  loop = environment_loop.EnvironmentLoop(setup.environment, actor)
  metrics = loop.run_episode()
  assert speeds[0] < _HELD
  # No step is bad, but they were not all in time.
  assert [episode.length for episode in actor.episodes] == [8]
  assert metrics['late_steps'] >= 1 and 'faults' not in metrics


def test_a_mistake_of_the_config_ends_the_run(setup):
  setup.robot._headers['Content-Type'] = 'text/plain'
  with pytest.raises(client.RequestError, match='415') as caught:
    setup.environment.reset()
  assert not isinstance(caught.value, core.FaultError)


# Records episodes on an arm whose camera's library crashes in its thread.
_CRASH = """
import ctypes, dataclasses, faulthandler, pathlib, sys
import numpy as np
from robot_server import testing
from serl import specs
from serl.demos import recording
from serl.environments.franka import capture, environment, robot
from serl.testing import fakes
from tests.environments.franka import faults_test

faulthandler.enable()
folder = pathlib.Path(sys.argv[1])
config = dataclasses.replace(
  faults_test._CONFIG, threshold=None, episode_steps=4
)

class Source:
  rng = np.random.default_rng(0)

  def grab(self):
    if len(list(folder.glob('*.npz'))) >= 3:
      ctypes.string_at(0)
    return self.rng.integers(90, 110, (480, 640, 3), np.uint8)

  def close(self):
    pass

camera = config.cameras[0]
made = environment.FrankaEnvironment(
  config,
  robot.LocalRobot(testing.KinematicDriver()),
  {'wrist': capture.Capture(Source, camera, config.image_size)},
  robot.RealTimeClock(),
)
actor = fakes.FakeActor(specs.make_environment_spec(made))
recording.record(lambda seed: made, actor, 100, folder, keep=lambda _: True)
"""


def test_a_crash_of_a_cameras_library_loses_no_finished_episode(tmp_path):
  pytest.importorskip('cv2', reason='the extra [franka] is missing')
  run = lambda: subprocess.run(
    [sys.executable, '-c', _CRASH, tmp_path],
    cwd=pathlib.Path(__file__).parents[3],
    capture_output=True,
    text=True,
    check=False,
  )
  done = run()
  assert done.returncode == -signal.SIGSEGV, done.stderr
  assert 'Segmentation fault' in done.stderr and 'in grab' in done.stderr
  paths = files.paths(tmp_path)
  assert len(paths) >= 3
  for path in paths:
    episode, _ = files.read(path)
    assert episode.length == 4
