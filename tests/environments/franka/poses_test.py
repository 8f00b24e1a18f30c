"""Tests for poses."""

import math

import numpy as np
import pytest

from serl.environments.franka import poses

_DOWN = (1.0, 0.0, 0.0, 0.0)  # the tool's z points to the table
_HALF = math.sqrt(0.5)


def test_a_tool_that_points_down_is_turned_by_pi_about_x():
  pose = poses.from_euler((0.5, 0.1, 0.2, math.pi, 0.0, 0.0))
  np.testing.assert_allclose(pose, (0.5, 0.1, 0.2, *_DOWN), atol=1e-12)
  back = poses.to_euler(pose)
  np.testing.assert_allclose(
    back, (0.5, 0.1, 0.2, math.pi, 0.0, 0.0), atol=1e-12
  )


def test_angles_are_extrinsic():
  # First about x, then about the z of the base: the tool's y, which the first
  # turn brings to z, stays there. Intrinsic angles would bring it elsewhere.
  quaternion = poses.from_euler((0, 0, 0, math.pi / 2, 0, math.pi / 2))[3:]
  np.testing.assert_allclose(quaternion, (0.5, 0.5, 0.5, 0.5), atol=1e-12)


def test_a_rotation_is_about_the_axes_of_the_base():
  pose = np.array((0.5, 0.0, 0.3, *_DOWN))
  turned = poses.moved(
    pose, np.array((0.01, 0.0, -0.02)), np.array((0.0, 0.0, math.pi / 2))
  )
  # A quarter about the base's z, (0, 0, s, s), times (1, 0, 0, 0).
  np.testing.assert_allclose(
    turned, (0.51, 0.0, 0.28, _HALF, _HALF, 0.0, 0.0), atol=1e-12
  )


@pytest.mark.parametrize('sign', [1, -1])
def test_the_first_angle_is_limited_by_its_absolute_value(sign):
  low, high = (0, 0, 0, 3.1, -0.1, -0.1), (1, 1, 1, 3.12, 0.1, 0.1)
  pose = poses.from_euler((0.5, 2.0, 0.3, sign * 3.0, 0.05, 0.3))
  np.testing.assert_allclose(
    poses.to_euler(poses.clipped(pose, low, high)),
    (0.5, 1.0, 0.3, sign * 3.1, 0.05, 0.1),
    atol=1e-9,
  )


@pytest.mark.parametrize('roll', [0.0, -0.0, 1e-9, -1e-9])
def test_a_roll_of_nothing_goes_to_its_box(roll):
  low, high = (0, 0, 0, 3.1, -0.1, -0.1), (1, 1, 1, 3.12, 0.1, 0.1)
  pose = poses.from_euler((0.5, 0.5, 0.3, roll, 0.0, 0.0))
  clipped = poses.to_euler(poses.clipped(pose, low, high))
  assert abs(clipped[3]) == pytest.approx(3.1)


def test_every_pose_is_clipped_into_the_box_and_stays_there():
  rng = np.random.default_rng(0)
  for _ in range(300):
    low = rng.uniform((0, 0, 0, 0, -1.5, -4), (0.2, 0.2, 0.2, 3.1, 1, 4))
    high = low + rng.uniform(0, (1, 1, 1, 0.5, 0.5, 3))
    pose = np.append(rng.uniform(-1, 1, 3), rng.normal(size=4))
    pose[3:] /= np.linalg.norm(pose[3:])
    clipped = poses.clipped(pose, low, high)
    euler = poses.to_euler(clipped)
    middle = (low[5] + high[5]) / 2
    euler[3] = abs(euler[3])
    euler[5] = middle + math.remainder(euler[5] - middle, 2 * math.pi)
    assert (euler > low - 1e-6).all() and (euler < high + 1e-6).all()
    again = poses.clipped(clipped, low, high)
    np.testing.assert_allclose(poses.to_euler(again)[:3], euler[:3], atol=1e-6)
    assert abs(again[3:] @ clipped[3:]) == pytest.approx(1, abs=1e-6)


def test_a_tool_that_is_tilted_beyond_the_level_keeps_its_yaw():
  low, high = (0, 0, 0, 3.1, -0.1, -0.5), (1, 1, 1, 3.15, 0.1, 0.5)
  # By 100 degrees about y: its Euler angles are 0, 80 degrees and pi.
  pose = poses.from_euler((0.5, 0.5, 0.3, math.pi, 1.745, 0.2))
  clipped = poses.to_euler(poses.clipped(pose, low, high))
  np.testing.assert_allclose(clipped[4:], (0.1, 0.2), atol=1e-9)


@pytest.mark.parametrize('yaw', [3.0, 3.16, 3.3, 3.5])
def test_a_yaw_in_a_box_around_the_jump_stays(yaw):
  low, high = (0, 0, 0, 0, -0.1, 2.5), (1, 1, 1, 1, 0.1, 3.5)
  pose = poses.from_euler((0.5, 0.5, 0.3, 0.0, 0.0, yaw))
  turned = poses.to_euler(poses.clipped(pose, low, high))[5]
  assert math.remainder(turned - yaw, 2 * math.pi) == pytest.approx(0, abs=1e-9)


def test_a_yaw_beyond_the_jump_goes_to_the_nearer_bound():
  low, high = (0, 0, 0, 0, -0.1, 2.5), (1, 1, 1, 1, 0.1, 3.3)
  pose = poses.from_euler((0.5, 0.5, 0.3, 0.0, 0.0, 3.5))
  turned = poses.to_euler(poses.clipped(pose, low, high))[5]
  assert math.remainder(turned - 3.3, 2 * math.pi) == pytest.approx(0, abs=1e-9)


def test_a_pose_within_the_box_stays():
  low, high = (0, 0, 0, 3.0, -0.1, -0.1), (1, 1, 1, 3.14, 0.1, 0.1)
  pose = poses.from_euler((0.5, 0.2, 0.3, -3.1, 0.05, 0.06))
  np.testing.assert_allclose(poses.clipped(pose, low, high), pose, atol=1e-12)


def test_it_is_near_on_either_side_of_the_jump_of_the_angle():
  target, threshold = (0.5, 0, 0.1, 3.11, 0, 0), (0.01,) * 3 + (0.1,) * 3
  for angle in (3.13, -3.13):
    pose = poses.from_euler((0.505, 0, 0.1, angle, 0, 0))
    assert poses.is_near(pose, target, threshold)


@pytest.mark.parametrize('index', range(6))
def test_it_is_not_near_when_one_of_the_six_is_not(index):
  target, threshold = (0.5, 0, 0.1, 3.0, 0, 0), (0.01,) * 3 + (0.1,) * 3
  pose = np.array(target)
  pose[index] += 1.1 * threshold[index]
  assert not poses.is_near(poses.from_euler(pose), target, threshold)
  pose[index] -= 0.2 * threshold[index]
  assert poses.is_near(poses.from_euler(pose), target, threshold)


_NEAR = (0.01, 0.01, 0.01, 0.2, 0.2, 0.2)
_MIRRORED = [
  # The target's angles, and those of a tool that is turned to the other side.
  ((3.1, 0.0, 0.4), (3.1, 0.0, -0.4)),
  ((3.1, 0.3, 0.0), (3.1, -0.3, 0.0)),
  ((2.8, 0.0, 0.0), (-2.8, 0.0, 0.0)),
  ((0.5, 0.0, 1.5), (-0.5, 0.0, 1.5)),
  ((3.0, 0.2, 1.5), (-3.0, -0.2, -1.5)),
]


@pytest.mark.parametrize('target, turned', _MIRRORED)
def test_a_tool_on_the_other_side_is_not_near(target, turned):
  pose = poses.from_euler((0.5, 0.0, 0.1, *turned))
  aimed = (0.5, 0.0, 0.1, *target)
  assert not poses.is_near(pose, aimed, _NEAR)
  assert poses.is_near(pose, aimed, _NEAR, absolute_angles=True)


@pytest.mark.parametrize(
  'target, same',
  [
    ((math.pi, 0.0, 0.0), (-math.pi, 0.0, 0.0)),
    ((3.13, 0.0, 0.1), (-3.13, 0.0, 0.1)),  # on either side of the jump
    ((3.1, 0.0, math.pi), (3.1, 0.0, -math.pi + 0.1)),
    ((3.1, 0.1, 0.2), (3.1 - math.pi, math.pi - 0.1, 0.2 - math.pi)),
    ((3.1, 0.1, 0.2), (3.1 + 4 * math.pi, 0.1, 0.2 - 2 * math.pi)),
    ((1.0, math.pi / 2, 0.4), (0.6, math.pi / 2, 0.0)),  # gimbal lock
  ],
)
def test_a_rotation_is_near_by_whatever_angles(target, same):
  pose = poses.from_euler((0.5, 0.0, 0.1, *same))
  assert poses.is_near(pose, (0.5, 0.0, 0.1, *target), _NEAR)
  pose[3:] *= -1  # the other quaternion of the same rotation
  assert poses.is_near(pose, (0.5, 0.0, 0.1, *target), _NEAR)


def test_a_path_is_straight_in_equal_steps():
  start = np.array((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
  end = np.array((0.4, 0.0, 0.2, 0.0, 0.0, _HALF, _HALF))
  way = poses.path(start, end, 4)
  np.testing.assert_allclose(way[:, 0], (0.1, 0.2, 0.3, 0.4))
  np.testing.assert_allclose(way[-1], end)
  angles = [poses.to_euler(pose)[5] for pose in way]
  np.testing.assert_allclose(angles, np.arange(1, 5) * math.pi / 8)


def test_a_path_takes_the_shorter_turn():
  # Equal rotations whose quaternions have opposite signs.
  start = np.array((0.0, 0.0, 0.0, *_DOWN))
  end = np.array((0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0))
  for pose in poses.path(start, end, 3):
    np.testing.assert_allclose(np.abs(pose[3:]), _DOWN, atol=1e-12)


_LOW, _HIGH = (0.0, 0.0, 0.0), (0.2, 0.1, 0.4)


@pytest.mark.parametrize(
  'start, end, stop',
  [
    ((-0.1, 0.05, 0.1), (0.1, 0.05, 0.3), (0.0, 0.05, 0.2)),  # by a face
    ((0.1, 0.05, 0.5), (0.1, 0.05, 0.3), (0.1, 0.05, 0.4)),  # straight down
    ((0.3, 0.05, 0.2), (-0.1, 0.05, 0.2), (0.2, 0.05, 0.2)),  # all across
    ((-0.1, -0.05, 0.2), (0.1, 0.1, 0.2), (0.0, 0.025, 0.2)),  # the later face
    ((0.2, 0.05, 0.2), (0.1, 0.05, 0.2), (0.2, 0.05, 0.2)),  # from a face
    # From within, nearest to the face at y = 0.1: never through the box.
    ((0.1, 0.09, 0.2), (0.1, 0.05, 0.2), (0.1, 0.1, 0.2)),
    ((0.1, 0.09, 0.2), (0.1, -0.1, 0.2), (0.1, 0.1, 0.2)),
  ],
)
def test_a_way_stops_where_it_enters_the_box(start, end, stop):
  stopped = poses.stopped_at(np.array(start), np.array(end), _LOW, _HIGH)
  np.testing.assert_allclose(stopped, stop, atol=1e-12)


@pytest.mark.parametrize(
  'start, end',
  [
    ((-0.1, 0.05, 0.1), (-0.01, 0.05, 0.1)),  # it ends before
    ((-0.1, 0.05, 0.1), (0.0, 0.05, 0.1)),  # on the face
    ((-0.1, 0.05, 0.1), (-0.2, 0.05, 0.1)),  # away
    ((-0.1, 0.05, 0.5), (0.3, 0.05, 0.5)),  # above
    ((-0.1, 0.05, 0.4), (0.3, 0.05, 0.4)),  # along a face
    ((-0.25, 0.25, 0.2), (0.25, -0.25, 0.2)),  # touching an edge
    ((-0.25, 0.25, 0.2), (0.5, 1.0, 0.2)),  # beside
    ((-0.125, 0.0, 0.2), (0.125, 0.25, 0.2)),  # past an edge
    ((0.2, 0.05, 0.2), (0.3, 0.05, 0.2)),  # off a face
    ((0.1, 0.09, 0.2), (0.1, 0.15, 0.2)),  # out of the box
  ],
)
def test_a_way_that_does_not_enter_goes_on(start, end):
  start, end = np.array(start), np.array(end)
  stopped = poses.stopped_at(start, end, _LOW, _HIGH)
  np.testing.assert_array_equal(stopped, end)
