"""Tests for robot."""

import os
import time

import pytest

from robot_server import protocol
from serl.environments.franka import robot as robot_lib


def test_what_the_driver_cannot_do_is_a_fault(driver):
  driver.running = False
  with pytest.raises(robot_lib.RobotError, match=r'controller: .*stopped'):
    robot_lib.LocalRobot(driver).command_pose((0.5, 0, 0.3, 1, 0, 0, 0))


def test_another_error_of_the_driver_is_none(driver):
  def broken():
    raise ZeroDivisionError

  driver.read_state = broken
  with pytest.raises(ZeroDivisionError):
    robot_lib.LocalRobot(driver).read_state()


def test_the_gripper_obeys(driver):
  robot = robot_lib.LocalRobot(driver)
  robot.close_gripper()
  assert robot.read_state().gripper_pos == protocol.GRIPPER_RANGE[1]
  robot.open_gripper()
  assert robot.read_state().gripper_pos == protocol.GRIPPER_RANGE[0]


@pytest.mark.parametrize('mode', protocol.MODES)
def test_every_mode_is_able_or_says_why_not(mode):
  if mode in ('moving', 'other'):
    robot_lib.demand_able(mode, ())
    return
  with pytest.raises(robot_lib.RobotError, match=f'{mode}.*: .*pressed'):
    robot_lib.demand_able(mode, ('pressed',))


def test_an_idle_arm_gets_its_controller_back(driver):
  driver.mode = 'idle'
  driver.start_impedance = lambda: setattr(driver, 'mode', 'moving')
  robot = robot_lib.LocalRobot(driver)
  robot.recover()
  assert robot.read_state().mode == 'moving'
  # After a user's stop it would else stay idle.
  assert driver.recoveries == 1


def test_real_time_passes_while_one_sleeps():
  clock = robot_lib.RealTimeClock()
  deadline = clock.now() + 0.02
  clock.sleep_until(deadline)
  assert deadline <= time.monotonic()
  clock.sleep_until(deadline - 100.0)  # returns


def test_a_control_loop_gets_precedence_where_that_is_allowed(monkeypatch):
  asked = []
  monkeypatch.setattr(os, 'setpriority', lambda *args: asked.append(args))
  assert robot_lib.take_precedence()
  assert asked[0][2] < 0

  def refuse(*_):
    raise PermissionError

  monkeypatch.setattr(os, 'setpriority', refuse)
  assert not robot_lib.take_precedence()
