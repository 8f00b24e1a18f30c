"""The twin does what the driver's protocol says, as the real arm does."""

from concurrent import futures
import dataclasses
import math
import threading
import time

import mujoco
import numpy as np
import pytest
from scipy.spatial import transform

from robot_server import protocol
from serl.environments.franka import config as franka_config
from serl.environments.franka.tasks import pcb_insert
from serl.environments.franka.tasks import peg_insert
from serl.environments.sim import impedance
from serl.environments.sim import twin as twin_lib


@pytest.fixture(name='model', scope='module')
def make_model():
  return twin_lib.make_spec().compile()


@pytest.fixture(name='twin')
def make_twin(model):
  return twin_lib.Twin(model)


def sleep(twin, seconds):
  twin.clock.sleep_until(twin.now() + seconds)


def shifted(pose, *offset):
  return np.concatenate((pose[:3] + offset, pose[3:]))


def push(twin, *force):
  """Applies a force, N, to the tool from now on."""
  twin.data.body('panda/gripper/base').xfrc_applied[:3] = force


def test_it_speaks_the_protocol(twin):
  methods = [
    name
    for name in vars(protocol.Driver)
    if not name.startswith('_') and callable(getattr(protocol.Driver, name))
  ]
  assert 'command_pose' in methods
  for name in methods:
    assert callable(getattr(twin, name)), name
  for name in ('activate', 'reset', 'open', 'close', 'move'):
    assert callable(getattr(twin.gripper, name)), name


def test_the_state_is_consistent(twin):
  state = twin.read_state()
  sleep(twin, 0.1)
  twin.command_pose(shifted(state.pose, 0.05, 0.03, -0.05))
  sleep(twin, 0.3)
  state = twin.read_state()
  assert state.pose.shape == (7,) and state.jacobian.shape == (6, 7)
  assert np.linalg.norm(state.pose[3:]) == pytest.approx(1)
  np.testing.assert_allclose(state.vel, state.jacobian @ state.dq)
  assert np.linalg.norm(state.vel[:3]) > 0.01
  before = state
  sleep(twin, 0.01)
  after = twin.read_state()
  moved = (after.pose[:3] - before.pose[:3]) / 0.01
  np.testing.assert_allclose(
    moved, (before.vel[:3] + after.vel[:3]) / 2, atol=2e-3
  )
  assert (state.mode, state.faults) == ('moving', ())


def test_time_passes_only_in_sleep(twin):
  before = twin.read_state()
  assert twin.now() == before.time == 0.0
  time.sleep(0.05)
  assert twin.now() == 0.0
  assert twin.read_state() is before
  twin.clock.sleep_until(0.25)
  assert twin.now() == twin.read_state().time == pytest.approx(0.25)
  # Deadlines that are no whole physics steps do not add up to a drift.
  for deadline in np.arange(1, 31) / 30 + 0.25:
    twin.clock.sleep_until(deadline)
    assert abs(twin.now() - deadline) <= 0.001 + 1e-9
  twin.clock.sleep_until(0.1)  # has passed
  assert twin.now() == pytest.approx(1.25, abs=0.001)


def test_equal_calls_give_equal_bits(model):
  config = twin_lib.Config(position_noise=1e-4, force_noise=0.5, seed=7)

  def run():
    twin = twin_lib.Twin(model, config)
    rng = np.random.default_rng(0)
    start = twin.read_state().pose
    poses = []
    for _ in range(10):
      twin.command_pose(shifted(start, *rng.uniform(-0.05, 0.05, 3)))
      sleep(twin, 0.1)
      state = twin.read_state()
      poses.append(np.concatenate((state.pose, state.force, state.q)))
    return np.array(poses)

  np.testing.assert_array_equal(run(), run())


def test_precision_reaches_a_pose_within_a_tenth_of_a_millimetre(twin):
  twin.set_compliance(as_dict(franka_config.PRECISION))
  goal = np.array((0.5, 0.1, 0.25, 1.0, 0.0, 0.0, 0.0))
  twin.command_pose(goal)
  sleep(twin, 4.0)
  pose = twin.read_state().pose
  np.testing.assert_allclose(pose[:3], goal[:3], atol=1e-4)
  np.testing.assert_allclose(pose[3:], goal[3:], atol=1e-3)


def as_dict(compliance):
  """Parameters by name, of a mapping or a dataclass."""
  if dataclasses.is_dataclass(compliance):
    return dataclasses.asdict(compliance)
  return dict(compliance)


def test_the_target_is_followed_with_the_real_low_pass(twin):
  # Stiff and without clips the tool is where the filtered target is.
  wide = {name: 0.1 for name in protocol.COMPLIANCE if '_clip_' in name}
  twin.set_compliance(
    {**wide, 'translational_stiffness': 6000.0, 'translational_damping': 400.0}
  )
  start = twin.read_state().pose
  twin.command_pose(shifted(start, 0.0, 0.02, 0.0))
  sleep(twin, 0.4)
  left = 0.02 - (twin.read_state().pose[1] - start[1])
  # Two time constants of 0.2 s, and the law's own lag of 400/6000 s.
  assert 0.02 * math.exp(-2) < left < 0.02 * math.exp(-2 + 0.0667 / 0.2) * 1.2


def test_the_wrench_is_what_pushes_the_tool(twin):
  push(twin, 5.0, -3.0, 8.0)
  sleep(twin, 2.0)
  state = twin.read_state()
  # The stiffness frame is the tool's: it points down, y and z turn over.
  np.testing.assert_allclose(state.force, (5.0, 3.0, -8.0), atol=0.8)
  push(twin, 0.0, 0.0, 0.0)
  sleep(twin, 2.0)
  np.testing.assert_allclose(twin.read_state().force, 0.0, atol=0.05)


def test_the_clip_bounds_the_force(twin):
  twin.set_compliance({'translational_clip_x': 0.003})
  push(twin, 5.0, 0.0, 0.0)
  sleep(twin, 1.0)
  # 2000 N/m times 3 mm is 6 N: it holds against 5, not against 8.
  held = twin.read_state().pose[0]
  sleep(twin, 0.5)
  assert abs(twin.read_state().pose[0] - held) < 1e-3
  push(twin, 8.0, 0.0, 0.0)
  sleep(twin, 0.5)
  assert twin.read_state().pose[0] - held > 0.005


def test_a_force_stops_the_arm_until_it_is_recovered(model):
  twin = twin_lib.Twin(model, twin_lib.Config(force_limit=30.0))
  pose = twin.read_state().pose
  push(twin, 0.0, 45.0, 0.0)
  sleep(twin, 0.3)
  state = twin.read_state()
  assert (state.mode, state.faults) == ('reflex', ('cartesian_reflex',))
  for command in (
    lambda: twin.command_pose(pose),
    twin.start_impedance,
  ):
    with pytest.raises(protocol.ReflexError, match='cartesian_reflex'):
      command()
  push(twin, 0.0, 0.0, 0.0)
  sleep(twin, 1.0)
  stopped = twin.read_state()
  assert stopped.mode == 'reflex'
  assert np.abs(stopped.dq).max() < 0.02
  twin.clear_errors()
  sleep(twin, 0.1)
  assert twin.read_state().mode == 'recovering'
  with pytest.raises(protocol.ReflexError):
    twin.command_pose(pose)
  sleep(twin, 0.6)
  recovered = twin.read_state()
  assert (recovered.mode, recovered.faults) == ('moving', ())
  # Not pulled back to where it was sent before.
  np.testing.assert_allclose(recovered.pose, stopped.pose, atol=2e-3)
  twin.command_pose(pose)
  sleep(twin, 2.0)
  np.testing.assert_allclose(twin.read_state().pose, pose, atol=2e-3)


def test_speed_stops_the_arm(model):
  config = twin_lib.Config(joint_speed_limits=(0.05,) * 7)
  twin = twin_lib.Twin(model, config)
  twin.command_pose(shifted(twin.read_state().pose, 0.0, 0.1, 0.0))
  sleep(twin, 0.5)
  assert twin.read_state().faults == ('joint_velocity_violation',)


def test_joint_reset_ends_at_the_posture_with_impedance(twin):
  start = twin.read_state()
  twin.command_pose(shifted(start.pose, -0.1, 0.1, -0.1))
  sleep(twin, 2.0)
  goal = twin_lib.Config().reset_joints
  assert np.abs(twin.read_state().q - goal).max() > 0.1
  twin.stop_impedance()
  began = twin.now()
  twin.reset_joints()
  assert twin.now() > began
  state = twin.read_state()
  np.testing.assert_allclose(state.q, goal, atol=0.011)
  assert state.mode == 'moving'
  twin.command_pose(state.pose)


def test_a_joint_reset_that_is_held_back_fails_and_says_so(model):
  config = twin_lib.Config(
    reset_joints=(0.3, 0.0, 0.0, -1.9, 0.0, 2.0, math.pi / 4),
    reset_timeout=2.0,
    force_limit=math.inf,
    torque_limit=math.inf,
  )
  twin = twin_lib.Twin(model, config)
  twin.command_pose(shifted(twin.read_state().pose, 0.0, -0.2, 0.0))
  sleep(twin, 3.0)
  push(twin, 0.0, -90.0, 0.0)
  with pytest.raises(protocol.JointResetError, match=r'Joint \d is 0\.\d+ rad'):
    twin.reset_joints()
  assert twin.read_state().mode == 'moving'


def test_without_the_controller_no_pose_is_taken(twin):
  pose = twin.read_state().pose
  twin.stop_impedance()
  sleep(twin, 0.5)
  assert twin.read_state().mode == 'idle'
  with pytest.raises(protocol.ControllerError, match='start_impedance'):
    twin.command_pose(pose)
  np.testing.assert_allclose(twin.read_state().pose, pose, atol=2e-3)
  twin.start_impedance()
  twin.command_pose(shifted(pose, 0.0, 0.02, 0.0))
  sleep(twin, 2.0)
  assert twin.read_state().pose[1] - pose[1] == pytest.approx(0.02, abs=1e-3)


def test_the_gripper_takes_its_time(twin):
  assert twin.read_state().gripper_pos < 5
  twin.gripper.close()
  sleep(twin, 0.3)
  assert 50 < twin.read_state().gripper_pos < 180
  sleep(twin, 0.7)
  assert twin.read_state().gripper_pos > 240
  twin.gripper.move(128)
  sleep(twin, 1.0)
  assert twin.read_state().gripper_pos == pytest.approx(128, abs=6)
  twin.gripper.open()
  sleep(twin, 1.0)
  assert twin.read_state().gripper_pos < 5
  with pytest.raises(ValueError, match='position=256; expected 0 to 255'):
    twin.gripper.move(256)


def test_latency_and_noise(model):
  late = twin_lib.Twin(model, twin_lib.Config(latency=0.05))
  sleep(late, 0.2)
  assert late.read_state().time == pytest.approx(0.15)
  noisy = twin_lib.Twin(
    model, twin_lib.Config(position_noise=1e-3, force_noise=0.5)
  )
  poses, forces = [], []
  for _ in range(100):
    sleep(noisy, 0.01)
    poses.append(noisy.read_state().pose[:3])
    forces.append(noisy.read_state().force)
  np.testing.assert_allclose(np.std(poses, axis=0), 1e-3, rtol=0.3)
  np.testing.assert_allclose(np.std(forces, axis=0), 0.5, rtol=0.3)


def test_twins_of_one_model_do_not_share_a_law(model):
  stiff, soft = twin_lib.Twin(model), twin_lib.Twin(model)
  soft.set_compliance({'translational_stiffness': 500.0})
  moved = []
  for twin in (stiff, soft):
    start = twin.read_state().pose
    push(twin, 0.0, 4.0, 0.0)
    sleep(twin, 3.0)
    moved.append(twin.read_state().pose[1] - start[1])
  np.testing.assert_allclose(moved, (4 / 2000, 4 / 500), rtol=0.1)


def test_restart_puts_everything_back(twin):
  first = twin.read_state()
  twin.command_pose(shifted(first.pose, 0.05, 0.05, -0.1))
  twin.gripper.close()
  sleep(twin, 1.0)
  twin.restart()
  state = twin.read_state()
  np.testing.assert_array_equal(state.pose, first.pose)
  np.testing.assert_array_equal(state.q, first.q)
  assert state.time == pytest.approx(1.0)
  sleep(twin, 1.0)
  np.testing.assert_allclose(twin.read_state().pose, first.pose, atol=1e-3)


@pytest.mark.parametrize(
  'pose, message',
  [
    ((0.5, 0.0, 0.3, 1.0, 0.0, 0.0), 'expected xyz and a unit quaternion'),
    ((0.5, 0.0, 0.3, 1.0, 1.0, 0.0, 0.0), 'unit quaternion'),
    ((0.5, 0.0, 0.3, math.nan, 0.0, 0.0, 0.0), 'unit quaternion'),
    ((0.5, math.nan, 0.3, 1.0, 0.0, 0.0, 0.0), 'finite numbers'),
  ],
)
def test_refuses_what_is_no_pose(twin, pose, message):
  with pytest.raises(ValueError, match=message):
    twin.command_pose(pose)


def test_refuses_unknown_compliance(twin):
  with pytest.raises(ValueError, match="Unknown parameter 'stiffness'"):
    twin.set_compliance({'stiffness': 1.0})
  with pytest.raises(ValueError, match=r'translational_Ki=nan; expected 0\.0'):
    twin.set_compliance({'translational_Ki': math.nan})
  with pytest.raises(ValueError, match='latency is -1, expected a number'):
    twin_lib.Twin(twin.model, twin_lib.Config(latency=-1))


def test_a_diverged_simulation_is_an_error(twin):
  twin.data.qvel[0] = math.nan
  with pytest.raises(FloatingPointError, match='diverged: joint velocities'):
    sleep(twin, 0.1)


def test_a_coarse_physics_still_passes_time():
  twin = twin_lib.Twin(twin_lib.make_spec(timestep=0.004).compile())
  pose = twin.read_state().pose
  sleep(twin, 0.1)
  assert twin.now() == pytest.approx(0.1, abs=0.002)
  np.testing.assert_allclose(twin.read_state().pose, pose, atol=1e-3)


def _read_when_fresh(twin, deadline):
  """Returns the state, patiently: a busy machine may let the physics starve.

  That the twin says so is what it should; it has to catch up by itself.
  """
  while True:
    try:
      return twin.read_state()
    except protocol.StaleStateError:
      assert time.monotonic() < deadline
      sleep(twin, 0.02)


def test_real_time_passes_by_itself(model):
  twin = twin_lib.Twin(model, real_time=True)
  try:
    deadline = time.monotonic() + 20
    pose = _read_when_fresh(twin, deadline).pose
    twin.command_pose(shifted(pose, 0.0, 0.03, 0.0))
    while _read_when_fresh(twin, deadline).pose[1] - pose[1] < 0.025:
      assert time.monotonic() < deadline
      sleep(twin, 0.02)
    state = _read_when_fresh(twin, deadline)
    assert state.time > 0
    before = time.monotonic()
    assert before <= twin.now() <= time.monotonic()
    twin.reset_joints()
    np.testing.assert_allclose(
      _read_when_fresh(twin, time.monotonic() + 20).q,
      twin_lib.Config().reset_joints,
      atol=0.03,
    )
  finally:
    twin.close()
  assert not any(thread.name == 'twin' for thread in threading.enumerate())
  time.sleep(0.6)
  with pytest.raises(protocol.StaleStateError, match='stood still'):
    twin.read_state()


def test_a_watchdog_does_not_take_a_long_way_for_a_standstill(twin):
  over = threading.Event()
  ages = []

  def watch():
    while not over.is_set():
      ages.append(twin.now() - twin.read_state().time)

  with futures.ThreadPoolExecutor() as pool:
    watching = pool.submit(watch)
    try:
      sleep(twin, 5.0)
    finally:
      over.set()
  watching.result()
  assert max(ages) > 0.1, 'nobody looked on the way'
  assert max(ages) < 0.5


def test_several_threads_may_call(model):
  twin = twin_lib.Twin(model)
  pose = twin.read_state().pose
  failures = []

  def command(sign):
    try:
      for _ in range(30):
        twin.command_pose(shifted(pose, 0.0, sign * 0.01, 0.0))
        sleep(twin, 0.02)
        assert np.isfinite(twin.read_state().pose).all()
        twin.set_compliance({'rotational_Ki': 0.1})
    except Exception as error:  # noqa: BLE001
      failures.append(error)

  threads = [threading.Thread(target=command, args=(s,)) for s in (-1, 1)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert failures == []
  assert np.abs(twin.read_state().pose[:3] - pose[:3]).max() < 0.02


class RealLaw:
  """The real controller's law in numpy, at every step of the physics.

  Error clipped on the base's axes, the rotation's as the vector part of its
  quaternion; target low-passed by 0.005 a millisecond; posture in the null
  space by the pseudo-inverse.
  """

  def __init__(self, twin, parameters):
    self.data, self.model = twin.data, twin.model
    self.parameters = {
      **{name: limits.default for name, limits in protocol.COMPLIANCE.items()},
      **parameters,
    }
    self.site = self.model.site('panda/gripper/pinch').id
    self.position = self.data.site_xpos[self.site].copy()
    self.rotation = self.measured_rotation()
    self.posture = self.data.qpos[:7].copy()

  def measured_rotation(self):
    return transform.Rotation.from_matrix(
      self.data.site_xmat[self.site].reshape(3, 3)
    )

  def step(self, target):
    parameters, data = self.parameters, self.data
    share = 1 - (1 - 0.005) ** (self.model.opt.timestep / 0.001)
    self.position += share * (target[:3] - self.position)
    left = transform.Rotation.from_quat(target[3:]) * self.rotation.inv()
    self.rotation = (
      transform.Rotation.from_rotvec(share * left.as_rotvec()) * self.rotation
    )
    jacobian = np.zeros((6, self.model.nv))
    mujoco.mj_jacSite(self.model, data, jacobian[:3], jacobian[3:], self.site)
    jacobian = jacobian[:, :7]
    turn = (self.measured_rotation() * self.rotation.inv()).as_quat()
    error = np.append(
      data.site_xpos[self.site] - self.position,
      turn[:3] * np.sign(turn[3]),
    )
    kinds = ('translational', 'rotational')
    names = [(kind, axis) for kind in kinds for axis in 'xyz']
    high = [parameters[f'{kind}_clip_{axis}'] for kind, axis in names]
    low = [-parameters[f'{kind}_clip_neg_{axis}'] for kind, axis in names]
    stiffness = [parameters[f'{kind}_stiffness'] for kind, _ in names]
    damping = [parameters[f'{kind}_damping'] for kind, _ in names]
    speeds = data.qvel[:7]
    wrench = -np.multiply(stiffness, np.clip(error, low, high))
    wrench -= damping * (jacobian @ speeds)
    gain = parameters['nullspace_stiffness']
    joint1 = parameters['joint1_nullspace_stiffness']
    weights = np.array((joint1, 1, 1, 1, 1, 1, 1))
    damper = np.array((2 * np.sqrt(joint1), 1, 1, 1, 1, 1, 1))
    posture = gain * weights * (self.posture - data.qpos[:7])
    posture -= 2 * np.sqrt(gain) * damper * speeds
    back = np.linalg.pinv(jacobian.T)
    torque = jacobian.T @ wrench + posture - jacobian.T @ (back @ posture)
    data.qfrc_applied[:7] = torque
    mujoco.mj_step(self.model, data)


@pytest.mark.parametrize(
  'compliance, yaw, turn',
  [
    (franka_config.PRECISION, 0.0, (0.0, 0.0, 0.2)),
    (peg_insert.STATE.compliance, 0.0, (0.0, 0.0, 0.2)),
    # Clips that differ from axis to axis are on those of the base.
    (pcb_insert.STATE.compliance, 0.6, (0.1, -0.08, 0.2)),
  ],
)
def test_it_moves_as_under_the_real_law(model, compliance, yaw, turn):
  # Ki aside: its bound makes it 0.01 N.
  parameters = {**as_dict(compliance)}
  parameters |= {'translational_Ki': 0.0, 'rotational_Ki': 0.0}
  joints = np.add(twin_lib.Config().reset_joints, (*np.zeros(6), -yaw))
  config = twin_lib.Config(reset_joints=tuple(joints))
  twin, reference = twin_lib.Twin(model, config), twin_lib.Twin(model, config)
  law = RealLaw(reference, parameters)
  reference._arm.set_impedance(impedance.OFF)
  twin.set_compliance(parameters)
  start = twin.read_state().pose
  turned = transform.Rotation.from_euler('xyz', turn)
  goal = shifted(start, 0.03, 0.03, -0.04)
  goal[3:] = (turned * transform.Rotation.from_quat(start[3:])).as_quat()
  twin.command_pose(goal)
  apart = []
  for _ in range(15):
    sleep(twin, 0.1)
    for _ in range(50):
      law.step(goal)
    mujoco.mj_forward(model, reference.data)
    pose = twin.read_state().pose
    apart.append(np.abs(pose[:3] - reference.data.site_xpos[law.site]).max())
    turned = transform.Rotation.from_quat(pose[3:])
    assert (turned * law.measured_rotation().inv()).magnitude() < 0.003
  # In motion and at rest.
  assert max(apart) < 8e-4
  assert apart[-1] < 1e-5
  assert np.linalg.norm(pose[:3] - start[:3]) > 0.05
