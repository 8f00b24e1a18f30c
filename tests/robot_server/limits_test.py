import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.spatial import transform

from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import ros_driver

DOWN = [1.0, 0.0, 0.0, 0.0]
LIMITS = limits_lib.Limits(
  box_low=(0.3, -0.2, 0.0),
  box_high=(0.7, 0.2, 0.4),
  max_rotation=0.8,
  max_step=0.1,
  max_rotation_step=0.3,
  max_speed=0.5,
  max_rotation_speed=1.0,
)
HOME = np.array([0.5, 0.0, 0.2, *DOWN])


def turned(angle, axis):
  """The pose HOME, turned by `angle` about an axis of the base."""
  way = transform.Rotation.from_rotvec(angle * np.eye(3)['xyz'.index(axis)])
  quaternion = (way * transform.Rotation.from_quat(DOWN)).as_quat()
  return np.concatenate([HOME[:3], quaternion])


def angle_between(first, second):
  """Of two quaternions, by the arc tangent: exact for small angles."""
  way = transform.Rotation.from_quat(first).inv()
  return (way * transform.Rotation.from_quat(second)).magnitude()


def limit(asked, measured=HOME, previous=HOME, elapsed=0.1):
  return limits_lib.limit_pose(
    np.asarray(asked, float), measured, previous, elapsed, LIMITS
  )


def test_an_allowed_pose_is_not_changed():
  asked = turned(0.05, 'z') + np.array([0.02, 0.01, -0.02, 0, 0, 0, 0])

  pose, limited_by = limit(asked)

  np.testing.assert_array_equal(pose, asked)
  assert limited_by == ()


def test_the_workspace():
  pose, limited_by = limit(
    [9, 0, 0.2, *DOWN], measured=np.array([0.68, 0, 0.2, *DOWN]), elapsed=10
  )
  assert limited_by == ('box',)
  np.testing.assert_allclose(pose[:3], [0.7, 0, 0.2])


def test_the_step_from_the_arm():
  # The way to (0.7, 0.2, 0.2) from the middle is cut after 0.1 m.
  pose, limited_by = limit([0.7, 0.15, 0.2, *DOWN], elapsed=10)
  assert limited_by == ('step',)
  np.testing.assert_allclose(pose[:3], [0.58, 0.06, 0.2])


def test_the_speed_from_the_previous_command():
  previous = np.array([0.5, 0.04, 0.2, *DOWN])
  pose, limited_by = limit(
    [0.5, -0.06, 0.2, *DOWN], previous=previous, elapsed=0.1
  )
  # 0.5 m/s for 0.1 s.
  assert limited_by == ('speed',)
  np.testing.assert_allclose(pose[:3], [0.5, -0.01, 0.2])


def test_an_arm_that_was_pushed_away_is_pulled_by_a_step_only():
  measured = np.array([0.5, 0.0, 0.2, *DOWN])
  previous = np.array([0.5, 0.2, 0.2, *DOWN])
  pose, limited_by = limit(previous, measured=measured, previous=previous)
  assert limited_by == ('step',)
  np.testing.assert_allclose(pose[:3], [0.5, 0.1, 0.2])


def test_an_arm_outside_of_the_workspace_is_led_straight_back():
  measured = np.array([0.9, 0.0, 0.2, *DOWN])
  pose, _ = limit(
    [0.95, 0.0, 0.2, *DOWN], measured=measured, previous=measured, elapsed=10
  )
  np.testing.assert_allclose(pose[:3], [0.8, 0.0, 0.2])


def test_the_rotation_from_the_allowed_orientation():
  measured = turned(0.7, 'y')
  pose, limited_by = limit(turned(2.0, 'y'), measured, measured, elapsed=10)
  assert limited_by == ('rotation',)
  np.testing.assert_allclose(angle_between(pose[3:], DOWN), 0.8)
  np.testing.assert_allclose(
    angle_between(pose[3:], turned(0.8, 'y')[3:]), 0, atol=1e-9
  )


def test_the_rotations_step_and_speed():
  pose, limited_by = limit(turned(0.7, 'z'), elapsed=10)
  assert limited_by == ('rotation_step',)
  np.testing.assert_allclose(angle_between(pose[3:], DOWN), 0.3)

  pose, limited_by = limit(turned(0.7, 'z'), elapsed=0.1)
  assert limited_by == ('rotation_speed',)
  np.testing.assert_allclose(angle_between(pose[3:], DOWN), 0.1)


def test_a_quaternion_and_its_negative_are_one_orientation():
  asked = turned(0.05, 'x')
  asked[3:] *= -1

  assert limit(asked).limited_by == ()


def random_poses(random, count, scale):
  """Poses around HOME, from near to far, some of them absurd."""
  spread = 10.0 ** random.uniform(-3, scale, (count, 1))
  positions = HOME[:3] + spread * random.normal(size=(count, 3))
  quaternions = random.normal(size=(count, 4))
  quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
  return np.concatenate([positions, quaternions], axis=-1)


def test_nothing_that_is_asked_for_gets_out_of_the_limits():
  random = np.random.default_rng(0)
  pose = measured = HOME
  for asked in random_poses(random, 2000, scale=300):
    elapsed = random.uniform(0, 0.3)
    previous = pose
    pose, _ = limits_lib.limit_pose(asked, measured, previous, elapsed, LIMITS)

    assert np.all(np.isfinite(pose))
    np.testing.assert_allclose(np.linalg.norm(pose[3:]), 1)
    assert np.all(pose[:3] >= np.array(LIMITS.box_low) - 1e-9)
    assert np.all(pose[:3] <= np.array(LIMITS.box_high) + 1e-9)
    assert angle_between(pose[3:], DOWN) <= LIMITS.max_rotation + 1e-6
    step = np.linalg.norm(pose[:3] - measured[:3])
    assert step <= LIMITS.max_step + 1e-9
    turn = angle_between(pose[3:], measured[3:])
    assert turn <= LIMITS.max_rotation_step + 1e-6
    # The arm follows the commands so closely that their speed is kept too.
    moved = np.linalg.norm(pose[:3] - previous[:3])
    assert moved <= LIMITS.max_speed * elapsed + 1e-9
    turn = angle_between(pose[3:], previous[3:])
    assert turn <= LIMITS.max_rotation_speed * elapsed + 1e-6
    measured = pose


def test_a_pushed_arm_never_gets_farther_out_than_it_is():
  random = np.random.default_rng(1)

  def outside(pose):
    inside = np.clip(pose[:3], LIMITS.box_low, LIMITS.box_high)
    return np.linalg.norm(pose[:3] - inside)

  asked, measured, previous = (
    random_poses(random, 2000, scale) for scale in (300, 0, 0)
  )
  for values in zip(asked, measured, previous):
    elapsed = random.uniform(0, 0.3)
    pose, _ = limits_lib.limit_pose(*values, elapsed, LIMITS)

    assert np.all(np.isfinite(pose))
    assert outside(pose) <= max(map(outside, values[1:])) + 1e-9
    step = np.linalg.norm(pose[:3] - values[1][:3])
    assert step <= LIMITS.max_step + 1e-9
    turn = angle_between(pose[3:], values[1][3:])
    assert turn <= LIMITS.max_rotation_step + 1e-6


@pytest.mark.parametrize(
  'pose, reason',
  [
    ([1, 2, 3], 'has 3 values'),
    ([0.5, 0, 0.2, 1, 0, 0, math.nan], 'finite'),
    ([math.inf, 0, 0.2, 1, 0, 0, 0], 'finite'),
    ([10**400, 0, 0.2, 1, 0, 0, 0], 'too large'),
    ([True, 0, 0.2, 1, 0, 0, 0], 'True'),
    (['0.5', 0, 0.2, 1, 0, 0, 0], "'0.5'"),
    ([None] * 7, 'None'),
    ([[0.5], 0, 0.2, 1, 0, 0, 0], 'finite numbers'),
    ('0.5 0 0', "'0.5 0 0'"),
    ({'0': 1}, 'finite numbers'),
    (7, '7; expected'),
    ([0.5, 0, 0.2, 0, 0, 0, 0], 'norm is 0'),
    ([0.5, 0, 0.2, 0.5, 0.5, 0, 0], 'no unit quaternion'),
    ([0.5, 0, 0.2, 1e308, 1e308, 0, 0], 'no unit quaternion'),
  ],
)
def test_what_is_no_pose_is_refused(pose, reason):
  with pytest.raises(limits_lib.CommandError, match=reason):
    limits_lib.check_pose(pose)


def test_a_nearly_unit_quaternion_is_made_one():
  pose = limits_lib.check_pose([0.5, 0, 0.2, 1.01, 0, 0, 0])
  np.testing.assert_array_equal(pose[3:], DOWN)


def test_compliance_within_the_controllers_ranges():
  given = {'translational_stiffness': 3000, 'rotational_clip_neg_x': 0.02}
  assert limits_lib.check_compliance(given, LIMITS) == given


@pytest.mark.parametrize(
  'given, reason',
  [
    ({'translational_stiffness': 6001}, r'allowed is \[0.0, 6000.0\]'),
    ({'translational_stiffness': -1}, 'allowed'),
    ({'translational_stiffness': math.nan}, 'finite'),
    ({'translational_stiffness': '2000'}, '2000'),
    ({'translational_stiffness': True}, 'True'),
    ({'stiffness': 1}, "unknown compliance parameter 'stiffness'"),
    ([1], 'by name'),
  ],
)
def test_other_compliance_is_refused(given, reason):
  with pytest.raises(limits_lib.CommandError, match=reason):
    limits_lib.check_compliance(given, LIMITS)


def test_the_limits_narrow_the_controllers_ranges_and_never_widen_them():
  limits = limits_lib.Limits(compliance={'translational_clip_x': (0, 0.005)})
  with pytest.raises(limits_lib.CommandError, match=r'\[0, 0\.005\]'):
    limits_lib.check_compliance({'translational_clip_x': 0.01}, limits)
  with pytest.raises(limits_lib.CommandError, match='within'):
    limits_lib.Limits(compliance={'translational_clip_x': (0, 0.2)})


@pytest.mark.parametrize('value', [-1, 256, math.nan, '3', None, False])
def test_gripper_positions_are_checked(value):
  with pytest.raises(limits_lib.CommandError):
    limits_lib.check_gripper_position(value)


def test_force_and_torque():
  def exceeds(force, torque):
    state = protocol.State(
      *[np.zeros(n) for n in (7, 6)],
      force=np.array(force),
      torque=np.array(torque),
      q=np.zeros(7),
      dq=np.zeros(7),
      jacobian=np.zeros((6, 7)),
      gripper_pos=0,
      time=0,
    )
    return limits_lib.exceeds_forces(state, LIMITS)

  # 60 N and 20 Nm, by their norms.
  assert not exceeds([36.0, 0.0, 47.0], [0.0, 0.0, 19.0])
  assert exceeds([36.0, 0.0, 49.0], [0.0, 0.0, 0.0])
  assert exceeds([0.0, 0.0, 0.0], [12.1, 0.0, 16.0])


def test_a_file_gives_what_it_names(tmp_path):
  path = tmp_path / 'limits.json'
  path.write_text(json.dumps({'box_low': [0.4, -0.1, 0.05], 'max_step': 0.05}))

  limits = limits_lib.load(path)

  assert list(limits.box_low) == [0.4, -0.1, 0.05]
  assert limits.max_step == 0.05
  assert limits.max_speed == limits_lib.Limits().max_speed


@pytest.mark.parametrize(
  'text, reason',
  [
    ('{', 'no JSON'),
    ('[]', 'expected an object'),
    ('{"max_stride": 1}', 'max_stride'),
    ('{"max_step": 0}', 'more than 0'),
    ('{"max_step": -1}', 'more than 0'),
    ('{"max_step": NaN}', 'finite'),
    ('{"max_step": "1"}', 'finite'),
    ('{"max_rotation": 2}', r'at most 1\.5708'),
    ('{"max_speed": 1e12}', 'at most 1000'),
    ('{"box_low": [-1e12, 0, 0]}', 'at least -10'),
    ('{"max_recoveries": -1}', 'at least 0'),
    ('{"max_recoveries": true}', 'finite'),
    ('{"box_low": [0, 0]}', 'has 2 values'),
    ('{"box_low": [0.9, 0, 0]}', 'not below'),
    ('{"orientation": [0, 0, 0, 0]}', 'unit quaternion'),
    ('{"max_recoveries": 1.5}', 'whole'),
    ('{"compliance": {"stiffness": [0, 1]}}', 'unknown'),
    ('{"compliance": {"rotational_Ki": [2, 1]}}', 'expected a range'),
    ('{"compliance": [1]}', 'by name'),
  ],
)
def test_a_wrong_file_is_refused(tmp_path, text, reason):
  path = tmp_path / 'limits.json'
  path.write_text(text)
  with pytest.raises(limits_lib.CommandError, match=reason):
    limits_lib.load(path)


@pytest.mark.parametrize(
  'config', [limits_lib.Limits(), ros_driver.RosConfig(robot_ip='10.0.0.2')]
)
def test_every_field_of_a_config_is_checked(config):
  numbers = (math.nan, math.inf, -math.inf, -1e12, 1e12, 10**400, '3', True)
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    wrong = [None, object(), [None], ['3'] * 7]
    if isinstance(value, tuple):
      wrong += [(x, *value[1:]) for x in numbers] + [(*value, 0.0), 3]
    elif isinstance(value, (bool, str)):
      wrong += [3, 0.5]
    elif field.name != 'compliance':
      wrong += [*numbers, -1, 0.5 if isinstance(value, int) else -0.5]
    for each in wrong:
      with pytest.raises(limits_lib.CommandError, match=f'^{field.name} '):
        dataclasses.replace(config, **{field.name: each})
