"""The servos hold and move the joints, and let go of them."""

import mujoco
import numpy as np
import pytest

from serl.environments.sim import arm as arm_lib
from serl.environments.sim import impedance
from serl.environments.sim import scene
from serl.environments.sim import servo


@pytest.fixture(name='parts')
def make_parts():
  spec = scene.make_spec(0.002)
  arm_lib.attach(spec)
  servo.add_actuators(spec, arm_lib.JOINTS)
  model = spec.compile()
  data = mujoco.MjData(model)
  arm = arm_lib.Arm(model, data, impedance.OFF)
  servos = servo.Servos(model, data)
  arm.reset()
  return arm, servos, data


def test_they_are_off_at_first(parts):
  arm, servos, data = parts
  servos.set_target(arm.joint_positions + 0.5)
  arm.step(50)
  np.testing.assert_array_equal(data.qfrc_actuator[:7], 0.0)


def test_they_move_the_joints(parts):
  arm, servos, _ = parts
  start = arm.joint_positions
  goal = start + np.array((0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1))
  servos.switch(True)
  for share in np.linspace(0, 1, 100):
    servos.set_target(start + share * (goal - start))
    arm.step(10)
  arm.step(500)
  np.testing.assert_allclose(arm.joint_positions, goal, atol=2e-3)
  assert np.abs(arm.joint_velocities).max() < 0.01


def test_they_brake(parts):
  arm, servos, data = parts
  data.qvel[:7] = 0.5
  servos.set_target(arm.joint_positions)
  servos.switch(True)
  arm.step(250)
  assert np.abs(arm.joint_velocities).max() < 0.05
