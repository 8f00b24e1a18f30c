"""What fails, fails safe: the whole way from the loop to the arm over HTTP."""

import contextlib
import dataclasses
import threading
import time

import numpy as np
import pytest

from robot_server import limits
from robot_server import testing
from serl import core
from serl import environment_loop
from serl.environments.franka import cameras as cameras_lib
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib
from serl.replay import adders

# They live in real time.
pytestmark = pytest.mark.processes

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
  move_seconds=0.1,
  cameras=(config_lib.CameraConfig('wrist', 'S1'),),
  image_size=_SIZE,
)
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
    self.driver = testing.KinematicDriver()
    self.stack = contextlib.ExitStack()
    allowed = limits.Limits(max_speed=5.0, max_rotation_speed=50.0)
    self.serving = lambda port=0: testing.serving(
      self.driver, allowed, port=port
    )
    self.url = self.stack.enter_context(self.serving())
    self.camera = _Camera()
    self.robot = client.HttpRobot(self.url)
    self.environment = environment_lib.FrankaEnvironment(
      dataclasses.replace(_CONFIG, url=self.url),
      self.robot,
      {'wrist': self.camera},
      robot_lib.RealTimeClock(),
    )

  def position(self):
    """Returns where the tool is, whatever a test made of the driver."""
    return testing.KinematicDriver.read_state(self.driver).pose[:3]

  def run(self, fail, repair):
    """Runs an episode; returns its metrics, what was stored and the arm's
    speed while the loop waited."""
    actor, speeds = _Actor(lambda: fail(actor)), []

    def wait(seconds):
      if not speeds:
        # Longer than a command lives: nothing leads the arm any more.
        time.sleep(0.35)
        before = self.position()
        time.sleep(0.05)
        speeds.append(np.linalg.norm(self.position() - before) / 0.05)
        repair(actor)
      time.sleep(0.001)

    loop = environment_loop.EnvironmentLoop(self.environment, actor, sleep=wait)
    return loop.run_episode(), actor.episodes, speeds[0]


@pytest.fixture
def setup():
  setup = _Setup()
  yield setup
  setup.robot.close()
  setup.stack.close()


def _check(metrics, episodes, speed):
  """The first episode, with the fault, left no trace; the second is whole."""
  assert metrics['faults'] >= 1
  assert metrics['episode_length'] == 8
  assert [episode.length for episode in episodes] == [8]
  assert speed < 1e-3  # m/s: the arm was held


def test_the_run_goes_on_after_a_camera_failed(setup):
  def fail(_):
    setup.camera.works = False

  def repair(_):
    setup.camera.works = True

  _check(*setup.run(fail, repair))


def test_the_run_goes_on_after_the_server_died(setup):
  port = int(setup.url.rstrip('/').rpartition(':')[2])

  def fail(_):
    setup.stack.close()

  def repair(_):
    setup.stack.enter_context(setup.serving(port))

  _check(*setup.run(fail, repair))


def test_the_run_goes_on_after_the_server_answered_500(setup):
  read = setup.driver.read_state

  def fail(_):
    def broken():
      raise RuntimeError('a bug in the driver')

    setup.driver.read_state = broken

  def repair(_):
    setup.driver.read_state = read

  _check(*setup.run(fail, repair))


def test_the_run_goes_on_after_the_server_hung(setup):
  read, released = setup.driver.read_state, threading.Event()

  def fail(_):
    def hanging():
      released.wait(5.0)
      return read()

    setup.driver.read_state = hanging

  def repair(_):
    setup.driver.read_state = read
    released.set()

  _check(*setup.run(fail, repair))


def test_the_run_goes_on_after_a_reflex(setup):
  def fail(_):
    setup.driver.mode = 'reflex'
    setup.driver.faults = ('cartesian_reflex',)

  _check(*setup.run(fail, lambda _: None))
  assert setup.driver.recoveries >= 1


def test_the_run_goes_on_after_the_policy_gave_nan(setup):
  def fail(actor):
    actor.action = np.full(7, np.nan, np.float32)

  def repair(actor):
    actor.action = _ASIDE

  metrics, episodes, speed = setup.run(fail, repair)
  _check(metrics, episodes, speed)
  assert np.isfinite(episodes[0].action).all()


def test_what_failed_is_logged(setup, caplog):
  def fail(_):
    setup.camera.works = False

  def repair(_):
    setup.camera.works = True

  setup.run(fail, repair)
  assert 'the camera is unplugged' in caplog.text


def test_a_mistake_of_the_config_ends_the_run(setup):
  setup.robot._headers['Content-Type'] = 'text/plain'
  with pytest.raises(client.RequestError, match='415') as caught:
    setup.environment.reset()
  assert not isinstance(caught.value, core.FaultError)
