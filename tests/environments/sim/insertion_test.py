"""The scenes of peg and plug: geometry, board, and the environment on them."""

import dataclasses

import mujoco
import numpy as np
import pytest

from robot_server import testing
from serl import core
from serl.environments.franka import client
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import poses
from serl.environments.franka.tasks import peg_insert as tasks_peg_insert
from serl.environments.sim import insertion
from serl.environments.sim import opengl
from serl.environments.sim import twin_environment
from serl.environments.wrappers import gripper_closed
from serl.teleop import insertion as expert_lib

TASK = tasks_peg_insert.STATE


@pytest.fixture(name='scene', scope='module')
def make_scene():
  return insertion.Insertion()


def put(scene, offset):
  """Puts the tool at the target, moved along the hole's axes, by kinematics.

  Returns:
    How deep the bodies are in each other, m, or 0.
  """
  twin = scene.twin
  model, data = twin.model, mujoco.MjData(twin.model)
  mujoco.mj_copyData(data, model, twin.data)
  goal = scene.target
  x, y, z, w = goal[3:]
  board = data.body('board').xmat.reshape(3, 3)
  site = model.site('panda/gripper/pinch').id
  jacobian = np.zeros((6, model.nv))
  for _ in range(200):
    mujoco.mj_forward(model, data)
    position = goal[:3] + board @ offset - data.site_xpos[site]
    turn, current, inverse = np.zeros(4), np.zeros(4), np.zeros(4)
    mujoco.mju_mat2Quat(current, data.site_xmat[site])
    mujoco.mju_negQuat(inverse, current)
    mujoco.mju_mulQuat(turn, np.array((w, x, y, z)), inverse)
    rotation = np.zeros(3)
    mujoco.mju_quat2Vel(rotation, turn, 1.0)
    error = np.concatenate((position, rotation))
    if np.abs(error).max() < 1e-7:
      break
    mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
    data.qpos[:7] += np.linalg.pinv(jacobian[:, :7]) @ error
  else:
    raise AssertionError(f'The pose was not reached: {error}.')
  distances = [contact.dist for contact in data.contact]
  return -min(distances, default=0.0)


def test_the_peg_fits_at_the_target(scene):
  assert put(scene, (0.0, 0.0, 0.0)) == 0.0
  assert put(scene, (0.00045, -0.00045, 0.0)) == 0.0
  assert put(scene, (0.0, 0.0, 0.015)) == 0.0


@pytest.mark.parametrize(
  'offset',
  [
    (0.0007, 0.0, 0.0),  # through a wall
    (0.0, -0.0007, 0.0),
    (0.0, 0.0, -0.0022),  # through the floor
    (0.01, 0.0, 0.0298),  # into the board's face
  ],
)
def test_the_peg_fits_nowhere_else(scene, offset):
  assert put(scene, offset) == pytest.approx(0.0002, abs=2e-5)


def test_the_clearance_is_the_config_s():
  scene = insertion.Insertion(
    dataclasses.replace(insertion.PEG, clearance=0.00025)
  )
  assert put(scene, (0.0002, 0.0002, 0.0)) == 0.0
  assert put(scene, (0.0004, 0.0, 0.0)) == pytest.approx(0.00015, abs=2e-5)
  with pytest.raises(ValueError, match='clearance is 0, expected'):
    insertion.Insertion(dataclasses.replace(insertion.PEG, clearance=0))


def test_the_fingers_hold_the_peg(scene):
  state = scene.twin.read_state()
  # 85 mm wide open; a peg of 20 mm stops them before they close.
  assert state.gripper_pos == pytest.approx(255 * (1 - 20 / 85), abs=3)
  scene.twin.clock.sleep_until(scene.twin.now() + 1.0)
  np.testing.assert_allclose(scene.twin.read_state().force, 0.0, atol=0.05)


def test_only_the_target_is_success(scene):
  scene.restart(np.random.default_rng(0))
  twin = scene.twin
  assert not scene.is_successful()
  state = twin.read_state()
  for offset, inserted in (
    ((0.0, 0.0, 0.0), True),
    ((0.009, -0.009, 0.009), True),
    ((0.011, 0.0, 0.0), False),
    ((0.0, 0.0, 0.011), False),
  ):
    pose = scene.target
    pose[:3] += offset
    twin._states[0] = dataclasses.replace(state, pose=pose)
    assert scene.is_successful() == inserted
  twin.restart()


def test_a_peg_that_is_turned_to_the_other_side_is_no_success():
  target = (*TASK.target[:5], 0.4)
  scene = insertion.Insertion(
    dataclasses.replace(
      insertion.PEG, task=dataclasses.replace(TASK, target=target)
    )
  )
  turned = poses.from_euler((*target[:5], -0.4))
  for absolute in (False, True):
    scene.task = dataclasses.replace(
      scene.task, threshold_on_absolute_angles=absolute
    )
    state = dataclasses.replace(scene.twin.read_state(), pose=turned)
    scene.twin._states[0] = state
    assert scene.is_successful() == absolute


def test_a_board_that_moves_takes_the_task_along():
  scene = insertion.Insertion(
    dataclasses.replace(
      insertion.PEG, board_xy=0.03, board_yaw=0.3, clearance=0.001
    )
  )
  np.testing.assert_array_equal(scene.task.target, TASK.target)
  rng = np.random.default_rng(0)
  targets = []
  for _ in range(3):
    scene.restart(rng)
    offset = np.subtract(scene.task.target, TASK.target)
    for name in ('reset', 'pose_low', 'pose_high'):
      moved = np.subtract(getattr(scene.task, name), getattr(TASK, name))
      np.testing.assert_allclose(moved, offset, atol=1e-12)
    assert (np.abs(offset[:2]) <= 0.03).all() and abs(offset[5]) <= 0.3
    np.testing.assert_array_equal(offset[2:5], 0.0)
    np.testing.assert_allclose(
      scene.target, poses.from_euler(scene.task.target)
    )
    assert put(scene, (0.0008, 0.0008, 0.0)) == 0.0
    targets.append(scene.task.target)
  assert len(set(targets)) == 3


def test_the_environment_is_the_real_task_s():
  environment = twin_environment.TwinEnvironment(insertion.Insertion(), 0)
  timestep = environment.reset()
  spec = environment.observation_spec()
  assert set(timestep.observation) == set(spec)
  for name, array in timestep.observation.items():
    spec[name].validate(array)
  # It begins near the reset pose, at most 5 cm aside.
  away = timestep.observation['tcp_pose'][:3] - np.array(TASK.reset[:3])
  assert (np.abs(away) < (0.07, 0.07, 0.025)).all()
  before = environment.scene.twin.now()
  timestep = environment.step(np.array((0, 0, -1, 0, 0, 0, 0), np.float32))
  assert environment.scene.twin.now() - before == pytest.approx(0.1)
  assert timestep.reward == 0.0 and timestep.discount == 1.0
  environment.close()


def test_equal_seeds_give_equal_episodes():
  def run(seed):
    config = dataclasses.replace(insertion.PEG, board_xy=0.02)
    environment = twin_environment.TwinEnvironment(
      insertion.Insertion(config), seed
    )
    rng = np.random.default_rng(0)
    environment.reset()
    actions = rng.uniform(-1, 1, (10, 7)).astype(np.float32)
    steps = [environment.step(action).observation for action in actions]
    return np.array([step['tcp_pose'] for step in steps])

  np.testing.assert_array_equal(run(3), run(3))
  assert (run(3) != run(4)).any()


def test_a_policy_without_cameras_acts_in_the_base_frame():
  environment = insertion.make(seed=0)
  assert environment.action_spec().shape == (6,)
  timestep = environment.reset()
  np.testing.assert_allclose(
    timestep.observation['tcp_pose'], environment.scene.tool_pose, atol=1e-6
  )


def test_a_policy_with_cameras_sees_what_they_see():
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(str(error))
  config = dataclasses.replace(
    insertion.PEG,
    task=dataclasses.replace(tasks_peg_insert.VISION, image_size=32),
  )
  environment = insertion.make(seed=0, config=config)
  observation = environment.reset().observation
  for name in ('wrist_1', 'wrist_2'):
    assert observation[name].shape == (32, 32, 3)
    assert observation[name].std() > 10
  # Seen from the episode's first pose, Euler angles.
  np.testing.assert_allclose(observation['tcp_pose'], np.zeros(6), atol=1e-6)
  for size in ((24, 32), (48, 64)):
    picture = environment.render('picture', *size)
    assert picture.shape == (*size, 3) and picture.std() > 10
  environment.close()


class Bench:
  """What an expert asks of an environment that is not in its process."""

  def __init__(self, scene):
    self.scene = scene


def test_the_peg_goes_in_through_the_real_arm_s_server():
  scene = insertion.Insertion()
  expert = expert_lib.InsertionExpert(environment=Bench(scene))
  with testing.serving(scene.twin) as url:
    robot = client.HttpRobot(url, now=scene.twin.now, patience=60.0)
    environment = gripper_closed.GripperClosed(
      environment_lib.FrankaEnvironment(
        scene.task, robot, {}, scene.twin.clock, seed=1
      )
    )
    for _ in range(2):
      timestep = environment.reset()
      expert.observe_first(timestep)
      while not timestep.last():
        timestep = environment.step(expert.select_action(timestep.observation))
      assert timestep.reward == 1.0 and timestep.discount == 0.0
      assert scene.is_successful()
    environment.close()


def test_a_reflex_is_a_fault_and_the_next_reset_recovers():
  environment = insertion.make(seed=0)
  environment.reset()
  push = environment.data.body('panda/gripper/base').xfrc_applied
  push[:3] = (0.0, 150.0, 0.0)
  with pytest.raises(core.FaultError, match='reflex'):
    for _ in range(5):
      environment.step(np.zeros(6, np.float32))
  push[:] = 0.0
  timestep = environment.reset()
  assert timestep.first()
  assert environment.scene.twin.read_state().mode == 'moving'
  environment.step(np.zeros(6, np.float32))


@pytest.mark.parametrize('real_time', [False, True])
def test_the_twin_runs_in_real_time_by_its_clock(real_time):
  scene = insertion.Insertion(real_time=real_time)
  environment = twin_environment.make(scene)
  try:
    assert environment.real_time is real_time
  finally:
    environment.close()
