"""The life of a command and the ages as they are shipped, over real HTTP.

The time is the test's, for the arm, its server and the environment alike: what
is decided by it does not depend on how busy the machine is.
"""

import contextlib
import dataclasses
import threading
import time

import numpy as np
import pytest

from robot_server import limits as limits_lib
from robot_server import testing
from serl.environments.franka import cameras as cameras_lib
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib

# They wait for the real watchdog's thread.
_SIZE = 8
_CONFIG = config_lib.Config(
  target=(0.5, 0.0, 0.2, 3.14, 0.0, 0.0),
  reset=(0.5, 0.0, 0.3, 3.14, 0.0, 0.0),
  pose_low=(0.3, -0.2, 0.1, 2.8, -0.4, -0.5),
  pose_high=(0.7, 0.2, 0.5, 3.2, 0.4, 0.5),
  action_scale=(0.02, 0.1, 1.0),
  compliance=config_lib.Compliance(),
  cameras=(config_lib.CameraConfig('wrist', 'S1'),),
  image_size=_SIZE,
  uses_gripper=True,
)
_SHIPPED = limits_lib.Limits()
_PATIENCE_S = 60.0  # of real time
_ASIDE = np.array((0, 1, 0, 0, 0, 0, 0), np.float32)
_CLOSE = np.array((0, 0, 0, 0, 0, 0, -1), np.float32)


class _Clock:
  """Time that passes while somebody sleeps, or while a test lets it pass."""

  def __init__(self):
    self.time = 100.0

  def now(self):
    return self.time

  def sleep_until(self, deadline):
    self.time = max(self.time, deadline)


class _Camera:
  def __init__(self, clock):
    self.clock = clock
    self.stalled = None

  def read(self):
    now = self.clock.now() if self.stalled is None else self.stalled
    return cameras_lib.Frame(np.zeros((_SIZE, _SIZE, 3), np.uint8), now)

  def close(self):
    pass


class _Setup:
  """An environment over a server at the shipped limits."""

  def __init__(self, stack):
    self.clock = _Clock()
    # Slow, so that an arm that nobody holds is on its way for a while.
    self.driver = testing.KinematicDriver(now=self.clock.now, time_constant=0.3)
    self.looks = threading.Semaphore(0)
    read, looks = self.driver.read_arm, self.looks

    def read_arm():
      if threading.current_thread().name == 'watchdog':
        looks.release()
      return read()

    self.driver.read_arm = read_arm
    self.url = stack.enter_context(testing.serving(self.driver, _SHIPPED))
    self.camera = _Camera(self.clock)
    self.environment = self.make()
    stack.callback(self.environment.close)

  def make(self):
    robot = client.HttpRobot(self.url, now=self.clock.now, patience=_PATIENCE_S)
    return environment_lib.FrankaEnvironment(
      dataclasses.replace(_CONFIG, url=self.url),
      robot,
      {'wrist': self.camera},
      self.clock,
    )

  def health(self):
    return client.HttpRobot(self.url, patience=_PATIENCE_S).health()

  def held_because(self):
    """Returns why the watchdog held the arm of late."""
    return [
      event['reason']
      for event in self.health()['last_commands']
      if event['event'] == 'watchdog'
    ]

  def pass_time(self, seconds):
    """Lets time pass, in which the watchdog looks at least once more."""
    self.clock.time += seconds
    while self.looks.acquire(blocking=False):
      pass
    # The first may have begun before.
    for _ in range(2):
      assert self.looks.acquire(timeout=60)
    # It has decided when it begins once more.
    assert self.looks.acquire(timeout=60)


@pytest.fixture
def setup():
  with contextlib.ExitStack() as stack:
    yield _Setup(stack)


def test_the_shipped_values_are_these():
  config = config_lib.Config
  defaults = {f.name: f.default for f in dataclasses.fields(config)}
  assert _SHIPPED.command_ttl == 0.15
  assert defaults['max_state_age'] == 0.25
  assert defaults['max_camera_age'] == 0.4
  # A step that is in time is one within the life of a command, and one whose
  # gripper switches is within the wait for the fingers.
  period = 1 / defaults['control_rate']
  assert period < _SHIPPED.command_ttl
  assert period + defaults['gripper_seconds'] <= _SHIPPED.gripper_seconds
  # The arm is held before the environment calls its state or camera stale.
  assert _SHIPPED.command_ttl < defaults['max_state_age']


def test_steps_in_time_are_never_interrupted(setup):
  setup.environment.reset()
  before = len(setup.held_because())
  for _ in range(10):
    setup.environment.step(_ASIDE)
    # The watchdog looks between them, at the latest moment of a step.
    setup.pass_time(0.0)
  assert len(setup.held_because()) == before


@pytest.mark.parametrize('late, held', [(0.149, False), (0.151, True)])
def test_the_arm_is_held_when_a_command_has_lived(setup, late, held):
  setup.environment.reset()
  setup.environment.step(_ASIDE)
  before = len(setup.held_because())
  # A step takes its period; the rest is the policy's.
  setup.pass_time(late - 0.1)
  assert len(setup.held_because()) == before + held
  pose = setup.driver.read_state().pose
  setup.clock.time += 1.0
  moved = np.linalg.norm((setup.driver.read_state().pose - pose)[:3])
  assert (moved < 1e-3) == held


@pytest.mark.parametrize('late', [0.101, 0.149, 0.151, 0.155, 0.16, 0.17])
def test_a_late_step_goes_as_far_as_one_in_time(setup, late):
  setup.environment.reset()
  setup.environment.step(_ASIDE)
  setup.pass_time(late - 0.1)
  setup.environment.step(_ASIDE)
  pose = next(
    event
    for event in setup.health()['last_commands']
    if event['event'] == 'pose'
  )
  assert pose['limited_by'] == []
  np.testing.assert_allclose(pose['sent'], pose['asked'])


def test_a_switch_of_the_gripper_is_no_silence_and_keeps_the_lead(setup):
  setup.environment.reset()
  setup.environment.step(_ASIDE)
  before = len(setup.held_because())
  other = client.HttpRobot(setup.url, patience=_PATIENCE_S)
  sleep = setup.clock.sleep_until
  refused = []

  def wait(deadline):
    while setup.clock.time < deadline:
      setup.pass_time(min(0.1, deadline - setup.clock.time))
      if setup.clock.time < deadline:
        with pytest.raises(robot_lib.RobotError, match='409, led'):
          other.command_pose((0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0))
        refused.append(1)

  setup.clock.sleep_until = wait
  timestep = setup.environment.step(_CLOSE)
  setup.clock.sleep_until = sleep
  assert setup.driver.gripper.commands == [255]
  assert timestep.mid() and len(refused) >= 5
  setup.environment.step(_ASIDE)
  assert len(setup.held_because()) == before
  # Afterwards a command lives as long as ever.
  setup.pass_time(0.051)
  assert len(setup.held_because()) == before + 1


@pytest.mark.parametrize('age, fails', [(0.249, False), (0.252, True)])
def test_a_state_that_is_too_old_is_a_fault(setup, age, fails):
  setup.environment.reset()
  setup.environment.step(_ASIDE)
  # At the end of the step, which takes 0.1 s.
  setup.driver.silent_since = setup.clock.time + 0.1 - age
  expectation = contextlib.nullcontext()
  if fails:
    expectation = pytest.raises(robot_lib.RobotError, match=r'0\.25 s old')
  with expectation:
    setup.environment.step(_ASIDE)


@pytest.mark.parametrize('age, fails', [(0.399, False), (0.402, True)])
def test_a_picture_that_is_too_old_is_a_fault(setup, age, fails):
  setup.environment.reset()
  setup.environment.step(_ASIDE)
  setup.camera.stalled = setup.clock.time + 0.1 - age
  commands = len(setup.driver.commands)
  expectation = contextlib.nullcontext()
  if fails:
    expectation = pytest.raises(cameras_lib.CameraError, match=r'0\.40 s old')
  with expectation:
    setup.environment.step(_ASIDE)
  # The step's, and where it fails that which holds the arm.
  assert len(setup.driver.commands) == commands + 1 + fails


def test_a_command_that_has_waited_longer_than_its_life_is_refused(setup):
  robot = client.HttpRobot(setup.url, now=setup.clock.now, patience=_PATIENCE_S)
  here = robot.read_state().pose
  for delay, refused in ((0.149, False), (0.151, True)):
    now = setup.clock.now
    robot._now = lambda: now() - delay  # noqa: B023
    expectation = contextlib.nullcontext()
    if refused:
      expectation = pytest.raises(robot_lib.RobotError, match='409, late')
    with expectation:
      robot.command_pose(here)
    robot._now = now
    setup.clock.time += 1.0


def test_a_client_that_is_gone_keeps_no_other_out_for_longer(setup):
  setup.environment.reset()
  setup.environment.step(_ASIDE)
  sent = setup.clock.time - 0.1
  other = client.HttpRobot(setup.url, patience=_PATIENCE_S)
  here = setup.driver.read_state().pose
  setup.clock.time = sent + 0.149
  with pytest.raises(robot_lib.RobotError, match='409, led'):
    other.command_pose(here)
  setup.clock.time = sent + 0.151
  other.command_pose(here)


def test_the_real_time_is_driven_by_the_shipped_values():
  """The same in real time: that the arm is held, not when."""
  driver = testing.KinematicDriver(time_constant=100.0)
  with testing.serving(driver) as url:
    robot = client.HttpRobot(url, patience=_PATIENCE_S)
    with contextlib.suppress(robot_lib.RobotError):
      # Late, if the machine is that busy: then nothing moves either.
      robot.command_pose((0.52, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0))
      give_up = time.monotonic() + 60
      while driver.commands[-1][0] == 0.52:
        assert time.monotonic() < give_up
        time.sleep(0.01)
      assert driver.commands[-1][0] < 0.51
