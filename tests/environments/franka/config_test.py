"""Tests for config."""

import dataclasses
import math
import pickle

import pytest

from robot_server import protocol
from serl.environments.franka import config
from serl.environments.franka.tasks import peg_insert


def test_the_parameters_are_the_controllers():
  parameters = dataclasses.asdict(config.PRECISION)
  assert parameters.keys() <= protocol.COMPLIANCE.keys()
  assert parameters['translational_stiffness'] == 3000.0
  assert parameters['translational_Ki'] == 0.1


def test_the_box_is_around_the_target_with_an_absolute_first_angle():
  low, high = config.around(
    (0.5, 0.1, 0.2, -3.1, 0.0, 0.3), (-0.1,) * 6, (0.05,) * 6
  )
  assert low == pytest.approx((0.4, 0.0, 0.1, 3.0, -0.1, 0.2))
  assert high == pytest.approx((0.55, 0.15, 0.25, 3.15, 0.05, 0.35))


def test_the_first_angle_of_the_box_is_within_half_a_turn():
  target = (0.5, 0.1, 0.2, 3.3, 0.0, 0.3)  # as -2.983
  low, _ = config.around(target, (0.0,) * 6, (0.0,) * 6)
  assert low[3] == pytest.approx(2.98318, abs=1e-4)


def test_a_task_is_moved_with_its_boxes():
  inner = dataclasses.replace(
    peg_insert.STATE, inner_low=(0.1, 0.2, 0.3), inner_high=(0.4, 0.5, 0.6)
  )
  moved = config.moved(inner, (1.0, -1.0, 2.0, 0.0, 0.0, 0.5))
  assert moved.inner_low == pytest.approx((1.1, -0.8, 2.3))
  assert moved.inner_high == pytest.approx((1.4, -0.5, 2.6))
  assert moved.reset[5] == pytest.approx(inner.reset[5] + 0.5)
  assert config.moved(peg_insert.STATE, (0.0,) * 6) == peg_insert.STATE


@pytest.mark.parametrize(
  'change, message',
  [
    ({'target': (0.5, 0.1, 0.2)}, 'target is .*of length 6'),
    ({'reset': (math.nan,) * 6}, r'reset\[0\] is nan, expected a number'),
    ({'threshold': (0.1,)}, 'threshold'),
    ({'pose_high': (0.0,) * 6}, 'none of them above'),
    ({'pose_low': (0.0, 0.0, 0.0, -3.0, 0.0, -1.0)}, 'absolute value'),
    ({'pose_high': (1.0, 1.0, 1.0, 4.0, 1.6, 1.0)}, 'quarter turn'),
    ({'inner_low': (0.1, 0.1, 0.1)}, 'inner_low is .* or both None'),
    (
      {'inner_low': (0.1,) * 3, 'inner_high': (0.1,) * 3},
      'each below',
    ),
    ({'control_rate': 0.0}, r'control_rate is 0.0, .*\(0, 1000\]'),
    (
      {
        'cameras': (
          config.CameraConfig('a', '1'),
          config.CameraConfig('a', '2'),
        )
      },
      'names that differ',
    ),
    (
      {
        'cameras': (
          config.CameraConfig('a', '1'),
          config.CameraConfig('b', '1'),
        )
      },
      'different serials',
    ),
    ({'cameras': (config.CameraConfig('tcp_pose', '1'),)}, 'and from tcp_pose'),
    ({'action_scale': (0, 0, 1)}, 'a move or a turn'),
    ({'gripper_range': (0.0, 0.0)}, 'open and closed'),
  ],
)
def test_a_config_that_makes_no_sense_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(peg_insert.STATE, **change)


def test_a_parameter_out_of_the_controllers_range_is_refused():
  with pytest.raises(ValueError, match='translational_stiffness is 9000'):
    config.Compliance(translational_stiffness=9000.0)


@pytest.mark.parametrize('columns', [(80, 700), (-1, 30), (60, 60)])
def test_a_crop_outside_of_the_picture_is_refused(columns):
  with pytest.raises(ValueError, match='columns'):
    config.CameraConfig('wrist', '1', columns=columns)


def test_a_config_travels_between_processes():
  assert pickle.loads(pickle.dumps(peg_insert.VISION)) == peg_insert.VISION
