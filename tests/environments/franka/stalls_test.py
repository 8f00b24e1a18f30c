"""What follows a policy that took long, and a command that failed."""

import numpy as np
import pytest

from robot_server import protocol
from serl.environments.franka import robot as robot_lib

_STAY = np.zeros(7, np.float32)
_CLOSE = np.array((0, 0, 0, 0, 0, 0, -1), np.float32)


def test_an_arm_that_was_led_away_is_not_pulled_back(make, driver, clock):
  environment = make()
  environment.reset()
  clock.time += 3.0
  led = driver.read_state().pose + (0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
  driver._pose = driver._target = led
  environment.step(_STAY)
  np.testing.assert_allclose(driver.commands[-1], led, atol=1e-6)


def test_an_action_that_came_late_gets_its_time(make, driver, clock):
  environment = make()
  environment.reset()
  clock.time += 3.0
  sent = clock.now()
  environment.step(_STAY)
  assert clock.now() - sent == pytest.approx(0.1)
  assert environment.step_extras()['late'] == 1


def test_a_gripper_that_failed_is_asked_again(make, driver, monkeypatch):
  environment = make()
  environment.reset()
  close = driver.gripper.close

  def fail():
    raise protocol.GripperError('no answer')

  monkeypatch.setattr(driver.gripper, 'close', fail)
  with pytest.raises(robot_lib.RobotError, match='no answer'):
    environment.step(_CLOSE)
  monkeypatch.setattr(driver.gripper, 'close', close)
  environment.reset()
  environment.step(_CLOSE)
  environment.step(_CLOSE)
  assert driver.gripper.commands == [255]


def test_a_hold_that_is_refused_keeps_nothing_open(make, monkeypatch):
  environment = make()
  environment.reset()
  closed = []

  def refuse():
    raise ValueError('401')

  monkeypatch.setattr(environment._robot, 'read_state', refuse)
  monkeypatch.setattr(environment._robot, 'close', lambda: closed.append(1))
  with pytest.raises(ValueError, match='401'):
    environment.close()
  assert closed == [1]
