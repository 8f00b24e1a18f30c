"""Tests for resets: by the environment's reset."""

import numpy as np
import pytest

from serl.environments.franka import robot as robot_lib


def test_a_reset_uses_the_precision_parameters_and_puts_the_others_back(
  make, driver
):
  seen = []
  command = driver.command_pose

  def watched(pose):
    seen.append(driver.compliance['translational_stiffness'])
    command(pose)

  driver.command_pose = watched
  make(lift=0.02).reset()
  assert set(seen) == {3000.0}
  assert driver.compliance['translational_stiffness'] == 2000.0
  assert driver.compliance['translational_clip_x'] == 0.003
  assert driver.compliance['translational_Ki'] == 0.0


def test_a_reset_lifts_first_and_then_goes_straight_to_the_start(make, driver):
  make(lift=0.05, reset=(0.6, 0.1, 0.3, 3.14, 0.0, 0.0)).reset()
  way = np.array(driver.commands)
  # From (0.5, 0, 0.3): ten steps of a second up, fifteen to the start.
  np.testing.assert_allclose(way[:10, :2], [(0.5, 0.0)] * 10, atol=1e-9)
  assert way[9, 2] == pytest.approx(0.35)
  np.testing.assert_allclose(way[24, :3], (0.6, 0.1, 0.3))
  steps = np.linalg.norm(np.diff(way[10:25, :3], axis=0), axis=1)
  np.testing.assert_allclose(steps, steps[0])


def test_a_start_that_is_not_reached_is_a_fault(make, driver):
  environment = make(reset=(0.6, 0.0, 0.3, 3.14, 0.0, 0.0))
  driver.command_pose = lambda pose: None  # something holds the arm
  with pytest.raises(robot_lib.RobotError, match=r'0\.100 m away'):
    environment.reset()


def test_an_arm_in_a_reflex_is_recovered_at_the_reset(make, driver):
  driver.mode, driver.faults = 'reflex', ('cartesian_reflex',)
  assert make().reset().first()
  assert driver.mode == 'moving'


def test_an_arm_that_a_person_stopped_is_not_recovered(make, driver):
  driver.mode = 'user_stopped'
  with pytest.raises(robot_lib.RobotError, match='stop button'):
    make().reset()
  driver.mode = 'moving'
  assert make().reset().first()
