"""Tests for the cable task's config: the published numbers, written out."""

import math

import pytest

from serl.environments.franka.tasks import cable_route


def test_episodes_begin_ten_centimetres_above_the_target():
  assert cable_route.STATE.reset == pytest.approx(
    (0.4606, -0.0244, 0.1263, 3.1331, 0.0182, 1.5825)
  )
  assert cable_route.STATE.random_xy == 0.1
  assert cable_route.STATE.random_yaw == math.pi / 6
  assert cable_route.STATE.lift == 0.05
  assert cable_route.STATE.action_scale[:2] == (0.05, 0.3)


def test_the_box_of_poses():
  low, high = cable_route.STATE.pose_low, cable_route.STATE.pose_high
  yaw = math.pi / 6
  assert low == pytest.approx(
    (0.3606, -0.1244, 0.0253, 3.1231, 0.0082, 1.5825 - yaw)
  )
  assert high == pytest.approx(
    (0.5606, 0.0756, 0.1263, 3.1431, 0.0282, 1.5825 + yaw)
  )


def test_the_compliance():
  compliance = cable_route.STATE.compliance
  assert compliance.translational_stiffness == 2000.0
  assert compliance.translational_damping == 89.0
  assert compliance.translational_clip_neg_z == 0.005
  assert compliance.rotational_clip_neg_x == 0.05
  assert compliance.rotational_clip_z == 0.02


def test_only_pictures_tell_success():
  assert cable_route.VISION.threshold is None
  names = [camera.name for camera in cable_route.VISION.cameras]
  assert names == ['wrist_1', 'wrist_2']
