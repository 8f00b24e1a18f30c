"""What the law adds to its actuators: the low-passed turn and the integral."""

import dataclasses

import mujoco
import numpy as np
import pytest

from serl.environments.sim import arm as arm_lib
from serl.environments.sim import impedance
from serl.environments.sim import scene

REAL = impedance.Impedance(target_time_constant=0.2)
TIMESTEP = 0.002


@pytest.fixture(name='model', scope='module')
def make_model():
  spec = scene.make_spec(TIMESTEP)
  arm_lib.attach(spec)
  return spec.compile()


@pytest.fixture(name='data')
def make_data(model):
  return mujoco.MjData(model)


@pytest.fixture(name='arm')
def make_arm(model, data):
  arm = arm_lib.Arm(model, data, REAL)
  arm.reset()
  return arm


def turned(angle):
  """Returns DOWN turned by `angle` about the base's z, wxyz."""
  quaternion = np.zeros(4)
  half = np.array((np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)))
  mujoco.mju_mulQuat(quaternion, half, np.array(arm_lib.DOWN))
  return quaternion


def angle_to(quaternion, other):
  return 2 * np.arccos(min(1.0, abs(quaternion @ other)))


def followed(arm, data):
  """Returns the orientation that the springs pull to, wxyz."""
  error, back, target = np.zeros(4), np.zeros(4), np.zeros(4)
  mujoco.mju_mat2Quat(error, data.site(impedance.ERROR_SITE).xmat)
  mujoco.mju_negQuat(back, error)
  mujoco.mju_mulQuat(target, back, arm.tcp_quaternion)
  return target


def test_the_turn_is_low_passed(arm, data):
  assert angle_to(followed(arm, data), np.array(arm_lib.DOWN)) < 1e-6
  arm.set_target_orientation(turned(0.2))
  for _ in range(20):
    arm.step(5)
  # After one time constant 1/e of the way is left.
  target = followed(arm, data)
  assert angle_to(target, turned(0.2)) == pytest.approx(0.2 / np.e, abs=1e-3)
  np.testing.assert_allclose(np.linalg.norm(target), 1.0)


def test_the_turn_takes_the_short_way(arm, data):
  arm.set_target_orientation(-turned(0.2))
  arm.step(5)
  assert angle_to(followed(arm, data), np.array(arm_lib.DOWN)) < 0.01


def test_the_error_is_on_the_axes_of_the_base(arm, model, data):
  # Of a tool that points down and is turned by 0.5 rad, and a target that is
  # turned away from it about the base's x.
  arm.set_impedance(dataclasses.replace(REAL, target_time_constant=0.0))
  arm.set_target_orientation(turned(0.5))
  for _ in range(400):
    arm.step(5)
  target, half = np.zeros(4), np.array((np.cos(0.02), np.sin(0.02), 0, 0))
  mujoco.mju_mulQuat(target, half, arm.tcp_quaternion)
  arm.set_target_orientation(target)
  mujoco.mj_forward(model, data)
  springs = [model.actuator(f'impedance_spring_{i}').id for i in (3, 4, 5)]
  np.testing.assert_allclose(
    data.actuator_length[springs], (-0.04, 0.0, 0.0), atol=1e-6
  )


def test_a_second_law_in_a_model_begins_afresh(arm, model, data):
  arm.set_target_orientation(turned(0.5))
  arm.step(50)
  again = arm_lib.Arm(model, data, REAL)
  again.reset()
  assert angle_to(followed(again, data), np.array(arm_lib.DOWN)) < 1e-6


def test_the_tool_turns_to_its_target(arm):
  arm.set_target_orientation(turned(0.3))
  for _ in range(300):
    arm.step(5)
  assert angle_to(arm.tcp_quaternion, turned(0.3)) < 5e-3


def test_the_integral_removes_what_a_force_leaves(arm, data):
  push = data.body('panda/gripper/base').xfrc_applied
  push[:3] = (0.0, 6.0, 0.0)
  error = {}
  for gain in (0.0, 60.0):
    arm.set_impedance(dataclasses.replace(REAL, translational_Ki=gain))
    for _ in range(300):
      arm.step(5)
    error[gain] = arm.tcp_position[1]
  # 6 N over 2000 N/m, and the integral's bound of 0.1 m ms gives 6 N.
  assert error[0.0] == pytest.approx(0.003, abs=3e-4)
  assert abs(error[60.0]) < 3e-4


def test_a_command_forgets_the_integral(arm, model, data):
  arm.set_impedance(dataclasses.replace(REAL, translational_Ki=60.0))
  dampers = [model.actuator(f'impedance_damper_{i}').id for i in range(6)]
  data.body('panda/gripper/base').xfrc_applied[:3] = (0.0, 6.0, 0.0)
  for _ in range(100):
    arm.step(5)
  assert data.ctrl[dampers][1] < -1.0
  arm.set_target(arm.target_position)
  np.testing.assert_array_equal(data.ctrl[dampers], 0.0)
  arm.step(5)
  assert data.ctrl[dampers].any()
  arm.set_impedance(REAL)
  np.testing.assert_array_equal(data.ctrl[dampers], 0.0)


def test_each_side_of_the_turn_has_its_clip(arm, model, data):
  spring = model.actuator('impedance_spring_5').id
  arm.set_impedance(
    dataclasses.replace(
      REAL,
      target_time_constant=0.0,
      rotational_clip=(1.0, 1.0, 0.02),
      rotational_clip_negative=(1.0, 1.0, 0.01),
    )
  )
  torques = []
  for angle in (0.5, -0.5):
    arm.set_target_orientation(turned(angle))
    mujoco.mj_forward(model, data)
    torques.append(abs(data.actuator_force[spring]))
  # The error is the tool minus the target: the other way round.
  np.testing.assert_allclose(torques, (150 * 0.01, 150 * 0.02))


def test_off_is_limp(arm, data):
  arm.set_target(arm.tcp_position + (0.1, 0.0, 0.0))
  arm.set_impedance(impedance.OFF)
  arm.step(50)
  np.testing.assert_allclose(data.qfrc_actuator[:7], 0.0, atol=1e-9)
  np.testing.assert_allclose(data.qfrc_applied[:7], 0.0, atol=1e-9)
