"""Tests for the PCB task's config: the published numbers, written out."""

import math

import pytest

from serl.environments.franka.tasks import pcb_insert


def test_episodes_begin_four_centimetres_above_the_target():
  assert pcb_insert.STATE.reset == pytest.approx(
    (0.5669, 0.0021, 0.0936, 3.1280, 0.0177, 0.0213)
  )
  assert pcb_insert.STATE.random_xy == 0.05
  assert pcb_insert.STATE.random_yaw == math.pi / 9
  assert pcb_insert.STATE.lift == 0.03
  assert pcb_insert.STATE.action_scale == (0.02, 0.2, 1.0)


def test_the_box_of_poses():
  low, high = pcb_insert.STATE.pose_low, pcb_insert.STATE.pose_high
  yaw = math.pi / 9
  assert low == pytest.approx(
    (0.5169, -0.0479, 0.0486, 3.0780, -0.0323, 0.0213 - yaw)
  )
  assert high == pytest.approx(
    (0.6169, 0.0521, 0.1036, 3.1780, 0.0677, 0.0213 + yaw)
  )


def test_the_compliance():
  compliance = pcb_insert.STATE.compliance
  assert compliance.translational_stiffness == 3000.0
  assert compliance.translational_damping == 180.0
  assert compliance.translational_clip_x == 0.0025
  assert compliance.translational_clip_neg_x == 0.002
  assert compliance.translational_clip_y == 0.0015
  assert compliance.translational_clip_neg_y == 0.002
  assert compliance.translational_clip_z == 0.002
  assert compliance.translational_clip_neg_z == 0.003
  for name, clip in (('x', 0.025), ('y', 0.007), ('z', 0.01)):
    assert getattr(compliance, f'rotational_clip_{name}') == clip
    assert getattr(compliance, f'rotational_clip_neg_{name}') == clip


def test_a_plug_on_its_socket_is_no_success():
  assert pcb_insert.STATE.threshold == (0.003, 0.003, 0.001, 0.1, 0.1, 0.1)


def test_the_cameras_are_cut_to_the_socket():
  names = [camera.name for camera in pcb_insert.VISION.cameras]
  assert names == ['wrist_1', 'wrist_2']
  for camera in pcb_insert.VISION.cameras:
    assert (camera.rows, camera.columns) == ((90, 390), (170, 470))
