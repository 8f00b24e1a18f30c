"""Tests for the peg task's config: the published numbers, written out."""

import math

import pytest

from serl.environments.franka.tasks import peg_insert


def test_episodes_begin_ten_centimetres_above_the_target():
  assert peg_insert.STATE.reset == pytest.approx(
    (0.5906, 0.0777, 0.1938, 3.1100, 0.0147, -0.0079)
  )
  assert peg_insert.STATE.random_yaw == math.pi / 6


def test_the_box_of_poses():
  low, high = peg_insert.STATE.pose_low, peg_insert.STATE.pose_high
  yaw = math.pi / 6
  assert low == pytest.approx(
    (0.5406, 0.0277, 0.0938, 3.1, 0.0047, -0.0079 - yaw)
  )
  assert high == pytest.approx(
    (0.6406, 0.1277, 0.1938, 3.12, 0.0247, -0.0079 + yaw)
  )


def test_the_compliance():
  compliance = peg_insert.STATE.compliance
  assert compliance.translational_stiffness == 2000.0
  assert compliance.rotational_damping == 7.0
  assert compliance.translational_clip_neg_x == 0.003
  assert compliance.translational_clip_z == 0.01
  assert compliance.rotational_clip_neg_z == 0.02


def test_the_cameras_pictures_are_square():
  for camera in peg_insert.VISION.cameras:
    assert camera.columns[1] - camera.columns[0] == camera.height
