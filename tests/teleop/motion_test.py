"""Motions by hand-made numbers."""

import types

import numpy as np
import pytest
from scipy.spatial import transform

from serl.teleop import motion

SCALE = (0.02, 0.1, 1.0)
STILL = np.zeros(3)


def test_it_is_scaled_and_keeps_its_direction():
  action = motion.make_action(
    np.array((0.01, 0.0, -0.01)), STILL, SCALE, np.zeros(6)
  )
  np.testing.assert_allclose(action, (0.5, 0, -0.5, 0, 0, 0))
  assert action.dtype == np.float32
  action = motion.make_action(
    np.array((0.06, 0.08, 0.0)), np.array((0.0, 0.0, 0.3)), SCALE, np.zeros(6)
  )
  np.testing.assert_allclose(action, (0.6, 0.8, 0, 0, 0, 1), rtol=1e-6)


def test_noise_gripper_and_frame():
  action = motion.make_action(
    STILL,
    STILL,
    SCALE,
    np.array((0.1, 0, 0, 0, 0, 0.2)),
    gripper=(-1.0,),
    to_policy_frame=lambda action: 2 * action,
  )
  # The frame may exceed the bounds, the action does not.
  np.testing.assert_allclose(action, (0.2, 0, 0, 0, 0, 0.4, -1), rtol=1e-6)


def test_the_way_that_is_left_to_turn():
  pose = np.array((0, 0, 0, 1.0, 0.0, 0.0, 0.0))
  about_z = transform.Rotation.from_rotvec((0.0, 0.0, 0.2))
  goal = about_z * transform.Rotation.from_quat(pose[3:])
  np.testing.assert_allclose(motion.turn_to(pose, goal), (0, 0, 0.2), atol=1e-9)


def test_an_expert_asks_for_scene_and_frame_at_each_step():
  slow, fast = (
    types.SimpleNamespace(task=types.SimpleNamespace(action_scale=(size, 0.1)))
    for size in (0.02, 0.04)
  )
  environment = types.SimpleNamespace(scene=slow)
  expert = motion.ArmExpert(0.0, 0, environment)
  away = np.array((0.01, 0.0, 0.0))
  assert expert.move(away, STILL)[0] == pytest.approx(0.5)
  environment.scene = fast
  environment.to_tool_frame = np.negative
  assert expert.move(away, STILL)[0] == pytest.approx(-0.25)


def test_an_expert_needs_a_scene():
  for environment in (None, 3):
    with pytest.raises(ValueError, match=f'environment={environment}; expect'):
      motion.ArmExpert(0.0, 0, environment)
