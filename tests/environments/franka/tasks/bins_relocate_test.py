"""Tests for the configs of the two bins: the published numbers, written out."""

import math

import pytest

from serl.environments.franka.tasks import bins_relocate


def test_episodes_begin_above_the_one_bin_or_the_other():
  assert bins_relocate.FORWARD_STATE.reset == pytest.approx(
    (0.485, 0.125, 0.1476, 3.1331, 0.0182, 1.5825)
  )
  assert bins_relocate.BACKWARD_STATE.reset == pytest.approx(
    (0.485, -0.075, 0.1476, 3.1331, 0.0182, 1.5825)
  )
  assert bins_relocate.FORWARD.random_xy == 0.0
  assert bins_relocate.FORWARD.opens_at_reset


def test_the_boxes():
  task, yaw = bins_relocate.BACKWARD, math.pi / 6
  assert task.pose_low == pytest.approx(
    (0.415, -0.125, 0.0466, 3.1231, 0.0082, 1.5825 - yaw)
  )
  assert task.pose_high == pytest.approx(
    (0.555, 0.175, 0.1476, 3.1431, 0.0282, 1.5825 + yaw)
  )
  assert task.inner_high[1:] == pytest.approx((0.055, 0.0876))
  assert task.inner_low[1] == pytest.approx(-0.005)
  # It closes the way from limit to limit, and beyond them.
  for axis in (0, 2):
    assert task.inner_low[axis] < task.pose_low[axis] - 0.01
  assert task.inner_high[0] > task.pose_high[0] + 0.01


def test_the_gripper_is_used_at_a_cost():
  task = bins_relocate.FORWARD
  assert task.uses_gripper and task.gripper_penalty == 0.1
  assert task.threshold is None
  compliance = task.compliance
  assert compliance.translational_clip_y == 0.006
  assert compliance.translational_clip_neg_z == 0.005
  assert compliance.rotational_clip_x == 0.05
  assert compliance.rotational_clip_neg_z == 0.02


def test_only_the_reward_goes_by_the_front_camera():
  names = [camera.name for camera in bins_relocate.FORWARD.cameras]
  assert names == ['wrist_1', 'front']
  assert bins_relocate.FORWARD.reward_cameras == ('front',)
