"""The arm and its impedance law against what physics says by hand."""

import copy
import dataclasses

import mujoco
import numpy as np
import pytest

from serl.environments.sim import arm as arm_lib
from serl.environments.sim import impedance
from serl.environments.sim import scene

TIMESTEP = 0.002
STIFF = impedance.Impedance(
  translational_stiffness=1500.0,
  translational_damping=150.0,
  rotational_stiffness=200.0,
  rotational_damping=12.0,
)
HOME = np.array([0.308, 0.0, 0.437])


@pytest.fixture(name='model')
def make_model():
  spec = scene.make_spec(TIMESTEP)
  arm_lib.attach(spec)
  return spec.compile()


@pytest.fixture(name='data')
def make_data(model):
  return mujoco.MjData(model)


@pytest.fixture(name='arm')
def make_arm(model, data):
  arm = arm_lib.Arm(model, data, STIFF)
  arm.reset()
  return arm


def spring_forces(model, data):
  """The forces of the law's springs, [6], N and N m."""
  names = [f'impedance_spring_{i}' for i in range(6)]
  return np.array([data.actuator(name).force[0] for name in names])


def test_rests_at_home_with_the_gripper_down(arm):
  np.testing.assert_allclose(arm.tcp_position, HOME, atol=1e-3)
  arm.step(500)
  np.testing.assert_allclose(arm.tcp_position, HOME, atol=2e-3)
  np.testing.assert_allclose(arm.tcp_velocity, 0.0, atol=1e-3)
  np.testing.assert_allclose(arm.tcp_rotation[:, 2], (0, 0, -1), atol=5e-3)
  assert arm.gripper_command == 0.0


@pytest.mark.parametrize(
  'target', [(0.25, -0.25, 0.05), (0.55, 0.25, 0.02), (0.6, 0.3, 0.5)]
)
def test_reaches_the_target(arm, target):
  arm.set_target(np.array(target))
  for _ in range(100):
    arm.step(10)
  np.testing.assert_allclose(arm.tcp_position, target, atol=5e-3)
  np.testing.assert_allclose(arm.target_position, target)


def test_stiffness_is_force_over_displacement(arm, data):
  arm.step(1000)
  before = arm.tcp_position
  data.body('panda/gripper/base').xfrc_applied[:3] = (0.0, 15.0, 0.0)
  for _ in range(200):
    arm.step(10)
  # 15 N over 1500 N/m. The force acts above the tool, so the tool also tilts.
  moved = arm.tcp_position - before
  np.testing.assert_allclose(moved, (0.0, 0.010, 0.0), atol=6e-4)


def test_clip_bounds_the_spring(arm, model, data):
  arm.set_impedance(
    dataclasses.replace(
      STIFF,
      translational_clip=(0.002, 0.003, 0.004),
      translational_clip_negative=(0.005, 0.006, 0.007),
    )
  )
  # The tool is behind its target on x and y and ahead of it on z.
  arm.set_target(HOME + (0.2, 0.2, -0.2))
  arm.step(1)
  expected = (1500 * 0.005, 1500 * 0.006, -1500 * 0.004)
  np.testing.assert_allclose(spring_forces(model, data)[:3], expected)
  arm.set_impedance(STIFF)
  arm.step(1)
  assert (np.abs(spring_forces(model, data)[:3]) > 250.0).all()


def test_rotational_stiffness_acts_on_the_quaternion(model, data):
  arm = arm_lib.Arm(model, data, STIFF)
  arm.reset()
  law = impedance.Law(model, data)
  angle = 0.2  # about the base's z
  turned = np.zeros(4)
  half = (np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2))
  mujoco.mju_mulQuat(turned, np.array(half), np.array(arm_lib.DOWN))
  law.set_target_orientation(turned)
  mujoco.mj_forward(model, data)
  # 200 N m times sin(0.1), which is 0.0998, about the base's z.
  torque = spring_forces(model, data)[3:]
  np.testing.assert_allclose(np.linalg.norm(torque), 19.97, atol=0.1)
  assert torque[2] > 19.0
  law.set_parameters(
    # The error is the tool minus the target, so that it is negative.
    dataclasses.replace(STIFF, rotational_clip_negative=(0.02, 0.02, 0.03))
  )
  mujoco.mj_forward(model, data)
  np.testing.assert_allclose(
    spring_forces(model, data)[5], 200 * 0.03, rtol=1e-6
  )


def test_target_is_low_passed(arm, model, data):
  arm.set_impedance(dataclasses.replace(STIFF, target_time_constant=0.2))
  arm.set_target(HOME + (0.1, 0.0, 0.0))
  arm.step(100)  # one time constant
  filtered = data.act[:3] - HOME
  np.testing.assert_allclose(filtered[0], 0.1 * (1 - np.exp(-1)), atol=1e-3)


def test_target_without_low_pass_acts_at_once(arm, model, data):
  arm.set_target(HOME + (0.1, 0.0, 0.0))
  arm.step(1)
  mujoco.mj_forward(model, data)
  assert spring_forces(model, data)[0] == pytest.approx(150.0, rel=0.02)


def test_motors_are_limited(arm, data):
  arm.set_target(np.array((0.6, 0.3, 0.0)))
  largest = np.zeros(7)
  for _ in range(50):
    arm.step(1)
    largest = np.maximum(largest, np.abs(data.qfrc_actuator[:7]))
  limits = np.array([87.0] * 4 + [12.0] * 3)
  assert (largest <= limits + 1e-9).all()
  assert (largest[:4] >= limits[:4] - 1e-9).any()


def test_measurements_do_not_lag(arm, model, data):
  arm.set_target(np.array((0.5, 0.2, 0.1)))
  for substeps in (1, 10):
    arm.step(substeps)
    exact = copy.copy(data)
    mujoco.mj_forward(model, exact)
    site = model.site('panda/gripper/pinch').id
    np.testing.assert_array_equal(arm.tcp_position, exact.site_xpos[site])
  assert np.linalg.norm(arm.tcp_velocity) > 0.05


def test_velocity_is_the_derivative_of_the_position(arm):
  arm.set_target(np.array((0.5, 0.2, 0.1)))
  arm.step(20)
  position, velocity = arm.tcp_position, arm.tcp_velocity
  arm.step(1)
  moved = (arm.tcp_position - position) / TIMESTEP
  # The velocity is the one at the end of the step: it does not lag either.
  np.testing.assert_allclose(moved, arm.tcp_velocity, atol=0.02)
  assert np.abs(moved - velocity).max() > 0.04


def test_posture_is_not_felt_by_the_tool(arm, model, data):
  arm.set_target(np.array((0.5, 0.25, 0.1)))
  for _ in range(50):
    arm.step(10)
  jacobian = np.zeros((6, model.nv))
  site = model.site('panda/gripper/pinch').id
  mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
  arm.step(1)
  torque = data.qfrc_applied[:7]
  assert np.linalg.norm(torque) > 1e-3
  wrench = np.linalg.pinv(jacobian[:, :7].T) @ torque
  np.testing.assert_allclose(wrench, 0.0, atol=1e-6)


def test_gripper_opens_and_closes(arm, data):
  def closing():
    return data.joint('panda/gripper/right_driver_joint').qpos[0]

  arm.step(500)
  assert closing() == pytest.approx(0.0, abs=0.03)
  arm.set_gripper(1.0)
  assert arm.gripper_command == 1.0
  arm.step(500)
  assert closing() == pytest.approx(0.8, abs=0.05)
  arm.set_gripper(0.0)
  arm.step(500)
  assert closing() == pytest.approx(0.0, abs=0.03)


def test_reset_forgets_everything(arm, data):
  first = arm.tcp_position
  arm.set_target(np.array((0.5, 0.2, 0.1)))
  arm.set_gripper(1.0)
  arm.step(300)
  mujoco.mj_resetData(data.model, data)
  arm.reset()
  np.testing.assert_array_equal(arm.tcp_position, first)
  np.testing.assert_array_equal(arm.target_position, first)
  assert arm.gripper_command == 0.0
