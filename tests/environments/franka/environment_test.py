"""Tests for environment."""

import dataclasses

import dm_env
import numpy as np
import pytest

from robot_server import protocol
from serl import core
from serl.environments.franka import cameras as cameras_lib
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import poses
from serl.environments.franka import robot as robot_lib
from serl.environments.wrappers import learned_reward
from serl.environments.wrappers import marked_success
from serl.programs import evaluation

_STAY = np.zeros(7, np.float32)


def _action(**entries):
  """Returns an action; x=0.5 moves half of the scale along x."""
  names = ('x', 'y', 'z', 'rx', 'ry', 'rz', 'gripper')
  return np.array([entries.get(name, 0.0) for name in names], np.float32)


class _Camera:
  """Gives one picture again and again, dated by the clock."""

  def __init__(self, clock, size=128):
    self._clock = clock
    self.image = np.full((size, size, 3), 7, np.uint8)
    self.age = 0.0
    self.error = None
    self.closed = False

  def read(self):
    if self.error is not None:
      raise self.error
    return cameras_lib.Frame(self.image, self._clock.now() - self.age)

  def close(self):
    self.closed = True


_CAMERAS = (config_lib.CameraConfig('wrist', serial='1'),)


def test_is_a_dm_env(make):
  environment = make()
  assert isinstance(environment, dm_env.Environment)
  timestep = environment.reset()
  for _ in range(12):
    environment.reward_spec().validate(np.float32(timestep.reward or 0.0))
    for name, leaf in environment.observation_spec().items():
      leaf.validate(timestep.observation[name])
    timestep = environment.step(_STAY)


def test_what_is_observed_is_what_the_arm_reports(make, driver):
  driver.force, driver.torque = np.array((1.0, 2.0, 3.0)), np.full(3, 0.5)
  driver.gripper.position = 200.0
  observation = make().reset().observation
  pose = driver.read_state().pose
  np.testing.assert_array_equal(
    observation['tcp_pose'], pose.astype(np.float32)
  )
  np.testing.assert_array_equal(observation['tcp_force'], (1, 2, 3))
  np.testing.assert_array_equal(observation['tcp_torque'], (0.5, 0.5, 0.5))
  np.testing.assert_array_equal(observation['gripper_pose'], [200])
  assert observation['tcp_vel'].shape == (6,)


def test_the_bounds_are_those_of_the_box_and_of_the_gripper(make):
  # Franka's hand reads more when it is open.
  spec = make(gripper_range=(0.08, 0.0)).observation_spec()
  np.testing.assert_allclose(
    spec['tcp_pose'].minimum, (0.28, -0.22, 0.08, -1, -1, -1, -1), rtol=1e-6
  )
  np.testing.assert_allclose(
    spec['tcp_pose'].maximum, (0.72, 0.22, 0.52, 1, 1, 1, 1), rtol=1e-6
  )
  np.testing.assert_allclose(spec['gripper_pose'].maximum, [0.08])
  assert all(leaf.dtype == np.float32 for leaf in spec.values())


def test_an_action_moves_the_command_away_from_the_measured_pose(make, driver):
  environment = make()
  environment.reset()
  before = driver.read_state().pose
  environment.step(_action(x=1.0, y=-0.5))
  np.testing.assert_allclose(
    driver.commands[-1][:3], before[:3] + (0.02, -0.01, 0.0), atol=1e-12
  )
  np.testing.assert_allclose(
    np.abs(driver.commands[-1][3:] @ before[3:]), 1.0, atol=1e-9
  )


def test_a_rotation_is_composed_in_front_of_the_measured_orientation(
  make, driver
):
  environment = make()
  environment.reset()
  before = poses.to_euler(driver.read_state().pose)
  environment.step(_action(rz=1.0))
  after = poses.to_euler(driver.commands[-1])
  # About the base's z, although the tool's z points the other way.
  assert after[5] - before[5] == pytest.approx(0.1, abs=1e-6)


def test_actions_beyond_one_are_clipped(make, driver):
  environment = make()
  environment.reset()
  before = driver.read_state().pose
  environment.step(_action(x=7.0))
  assert driver.commands[-1][0] - before[0] == pytest.approx(0.02)


def test_no_command_leaves_the_box(make, driver):
  environment = make(pose_high=(0.505, 0.2, 0.5, 3.2, 0.4, 0.5))
  environment.reset()
  environment.step(_action(x=1.0))
  assert driver.commands[-1][0] == pytest.approx(0.505)


def test_no_command_enters_the_inner_box(make, driver):
  # The tool begins at 0.5, 0.0, 0.3.
  environment = make(inner_low=(0.4, 0.005, 0.0), inner_high=(0.6, 0.1, 0.295))
  environment.reset()
  environment.step(_action(y=1.0, z=-1.0))
  # On the straight way down at 45 degrees.
  np.testing.assert_allclose(
    driver.commands[-1][:3], (0.5, 0.005, 0.295), atol=1e-9
  )
  before = driver.read_state().pose[:3]
  environment.step(_action(x=1.0, y=-1.0))
  np.testing.assert_allclose(
    driver.commands[-1][:3], before + (0.02, -0.02, 0.0), atol=1e-9
  )


def test_reaching_the_target_terminates(make):
  environment = make(target=(0.5, 0.0, 0.28, 3.14, 0.0, 0.0))
  assert not environment.reset().last()
  down = _action(z=-1.0)
  timestep = environment.step(down)
  assert timestep.last()
  assert (timestep.reward, timestep.discount) == (1.0, 0.0)
  assert environment.step_extras()['success'] == 1
  assert environment.episode_metrics()['success'] == 1.0
  assert environment.step(down).first()


def test_the_time_limit_is_no_termination(make):
  environment = make(episode_steps=3)
  environment.reset()
  timesteps = [environment.step(_STAY) for _ in range(3)]
  assert [timestep.last() for timestep in timesteps] == [False, False, True]
  assert [timestep.discount for timestep in timesteps] == [1.0, 1.0, 1.0]
  assert timesteps[-1].reward == 0.0


@pytest.mark.parametrize('absolute', [False, True])
def test_a_tool_that_is_turned_to_the_other_side_is_no_success(make, absolute):
  environment = make(
    target=(0.5, 0.0, 0.3, 3.14, 0.0, 0.4),
    reset=(0.5, 0.0, 0.3, 3.14, 0.0, -0.4),
    threshold_on_absolute_angles=absolute,
  )
  environment.reset()
  assert environment.step(_STAY).reward == absolute


def test_without_a_threshold_there_is_no_reward(make):
  environment = make(target=(0.5, 0.0, 0.3, 3.14, 0.0, 0.0), threshold=None)
  environment.reset()
  assert environment.step(_STAY).reward == 0.0
  assert 'success' not in environment.episode_metrics()
  assert 'success' not in environment.step_extras()


def test_without_a_threshold_a_classifier_tells_success(make):
  environment = learned_reward.LearnedReward(
    make(threshold=None), lambda observation: 0.9, threshold=0.5
  )
  policy = lambda params, key, observation: _STAY
  sweep = evaluation.Evaluation(environment, policy).sweep({}, 3)
  assert (sweep['successes'], sweep['cycle_steps']) == (3, 1)
  assert environment.step_extras()['success'] == 1


def test_the_gripper_moves_only_on_a_change(make, driver, clock):
  environment = make(gripper_seconds=0.6)
  environment.reset()
  started = clock.now()
  for asked in (-0.4, -0.6, -1.0, 0.4, 0.7):
    environment.step(_action(gripper=asked))
  assert driver.gripper.commands == [255, 0]
  # Five periods and two motions of the gripper; none of them was late.
  assert clock.now() - started == pytest.approx(5 * 0.1 + 2 * 0.6)
  assert environment.episode_metrics()['late_steps'] == 0


def test_steps_end_at_deadlines_whatever_the_inference_takes(make, clock):
  environment = make()
  environment.reset()
  started = clock.now()
  for thinking in (0.03, 0.07, 0.0):
    clock.time += thinking
    environment.step(_STAY)
  assert clock.now() - started == pytest.approx(0.3)


def test_a_late_step_is_counted_and_the_next_one_makes_up_for_it(make, clock):
  environment = make()
  environment.reset()
  started = clock.now()
  clock.time += 0.15
  environment.step(_STAY)
  assert environment.step_extras()['late'] == 1
  environment.step(_STAY)
  assert environment.step_extras()['late'] == 0
  assert clock.now() - started == pytest.approx(0.2)
  assert environment.episode_metrics()['late_steps'] == 1


def test_a_stall_is_not_followed_by_a_rush(make, clock):
  environment = make()
  environment.reset()
  clock.time += 5.0
  environment.step(_STAY)
  before = clock.now()
  environment.step(_STAY)
  assert clock.now() - before == pytest.approx(0.1)


def test_a_step_tells_its_times(make, clock, driver):
  environment = make()
  environment.reset()
  captured = clock.now()
  command = driver.command_pose

  def slow_command(pose):
    clock.time += 0.004
    command(pose)

  driver.command_pose = slow_command
  clock.time += 0.02
  environment.step(_STAY)
  extras = environment.step_extras()
  assert extras['capture_time'] == pytest.approx(captured)
  assert extras['inference_time'] == pytest.approx(captured + 0.02)
  assert extras['command_time'] == pytest.approx(captured + 0.02)
  assert extras['acknowledgement_time'] == pytest.approx(captured + 0.024)
  environment.step(_STAY)
  assert environment.step_extras()['capture_time'] == pytest.approx(
    captured + 0.1
  )


def test_a_step_tells_how_old_was_what_it_acted_on(make, clock, driver):
  wrist, front = _Camera(clock), _Camera(clock)
  wrist.age, front.age = 0.03, 0.05
  environment = make(
    {'wrist': wrist, 'front': front},
    cameras=(*_CAMERAS, config_lib.CameraConfig('front', serial='2')),
  )
  read = driver.read_state
  driver.read_state = lambda: dataclasses.replace(
    read(), time=clock.now() - 0.02
  )
  environment.reset()
  captured = clock.now()
  environment.step(_STAY)
  extras = environment.step_extras()
  assert extras['state_time'] == pytest.approx(captured - 0.02)
  assert extras['frame_time'] == pytest.approx(captured - 0.05)
  assert environment.step(_STAY).mid()
  extras = environment.step_extras()
  assert extras['frame_time'] == pytest.approx(captured + 0.1 - 0.05)


def test_without_cameras_there_is_no_time_of_a_picture(make):
  environment = make()
  environment.reset()
  environment.step(_STAY)
  assert 'frame_time' not in environment.step_extras()


def test_episodes_begin_anywhere_in_the_ranges(make, driver):
  starts = []
  environment = make(random_xy=0.05, random_yaw=0.3, move_seconds=0.5)
  for _ in range(20):
    environment.reset()
    starts.append(poses.to_euler(driver.commands[-1]))
  starts = np.array(starts)
  spread = np.ptp(starts, axis=0)
  assert (spread[[0, 1]] > 0.05).all() and (spread[[0, 1]] < 0.1).all()
  assert 0.3 < spread[5] < 0.6
  assert spread[2] == pytest.approx(0.0, abs=1e-9)


def test_equal_seeds_begin_alike(make, driver):
  def start(seed):
    make(random_xy=0.05, seed=seed).reset()
    return driver.commands[-1]

  np.testing.assert_array_equal(start(3), start(3))
  assert not np.array_equal(start(3), start(4))


def test_the_joints_are_reset_after_so_many_episodes(make, driver):
  environment = make(joint_reset_every=2)
  moved = []
  for _ in range(5):
    driver.q = np.zeros(7)
    environment.reset()
    moved.append(bool(driver.q.any()))
  assert moved == [False, False, True, False, True]


def test_a_joint_reset_that_failed_is_tried_again(make, driver):
  environment = make(joint_reset_every=1)
  environment.reset()
  reset, tries = driver.reset_joints, []

  def fail():
    tries.append('failed')
    raise protocol.JointResetError('a joint is not there')

  driver.reset_joints = fail
  for _ in range(2):
    with pytest.raises(robot_lib.RobotError, match='a joint is not there'):
      environment.reset()
  assert len(tries) == 2
  driver.reset_joints = reset
  environment.reset()
  assert driver.q.any()


def test_the_gripper_opens_at_a_reset_where_that_is_asked(make, driver):
  environment = make(opens_at_reset=True)
  environment.reset()
  assert driver.gripper.commands == [0]
  environment.step(_action(gripper=1.0))
  assert driver.gripper.commands == [0]


def test_a_reflex_ends_the_episode(make, driver):
  environment = make()
  environment.reset()
  driver.mode, driver.faults = 'reflex', ('cartesian_reflex',)
  with pytest.raises(core.FaultError, match='cartesian_reflex'):
    environment.step(_STAY)
  assert environment.step(_STAY).first()


def test_a_state_that_is_too_old_is_a_fault_and_the_arm_is_told_to_stay(
  make, driver, clock
):
  environment = make()
  environment.reset()
  environment.step(_action(x=1.0))
  driver.silent_since = clock.now() - 0.2
  with pytest.raises(robot_lib.RobotError, match=r'0\.30 s old|stale'):
    environment.step(_STAY)


def test_a_measurement_that_is_no_number_is_a_fault(make, driver):
  environment = make()
  environment.reset()
  driver.force = np.array((np.nan, 0.0, 0.0))
  with pytest.raises(robot_lib.RobotError, match='tcp_force'):
    environment.step(_STAY)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_nothing_moves_by_an_action_that_is_no_number(make, driver, value):
  environment = make()
  environment.reset()
  pose = driver.read_state().pose
  with pytest.raises(environment_lib.ActionError, match='diverged'):
    environment.step(_action(x=value))
  # The only command is to stay.
  np.testing.assert_allclose(driver.commands[-1], pose, atol=1e-12)


def test_an_action_of_another_shape_is_a_mistake_and_no_fault(make):
  environment = make()
  environment.reset()
  with pytest.raises(ValueError, match=r'expected \(7,\)'):
    environment.step(np.zeros(6, np.float32))


def test_the_arm_is_held_when_a_camera_fails(make, driver, clock):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS)
  assert environment.reset().observation['wrist'].max() == 7
  camera.error = cameras_lib.CameraError('unplugged')
  with pytest.raises(cameras_lib.CameraError, match='unplugged'):
    environment.step(_action(x=1.0))
  # It had been sent on; now it is told to stay where it is.
  np.testing.assert_allclose(
    driver.commands[-1], driver.read_state().pose, atol=1e-6
  )
  camera.error = None
  assert environment.step(_STAY).first()


def test_the_arm_stays_until_all_cameras_see(make, driver, clock):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS, lift=0.05)
  camera.error = cameras_lib.CameraError('unplugged')
  pose = driver.read_state().pose
  with pytest.raises(cameras_lib.CameraError, match='unplugged'):
    environment.reset()
  np.testing.assert_array_equal(driver.commands, [pose])
  camera.error = None
  assert environment.reset().first()


def test_a_picture_that_is_too_old_is_a_fault(make, clock):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS)
  environment.reset()
  camera.age = 0.6
  with pytest.raises(cameras_lib.CameraError, match=r'0\.60 s old'):
    environment.step(_STAY)


def test_a_camera_that_stalls_is_noticed_within_half_a_second(make, clock):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS, episode_steps=100)
  environment.reset()
  last = cameras_lib.Frame(camera.image, clock.now())
  camera.read = lambda: last
  with pytest.raises(cameras_lib.CameraError, match='s old'):
    for _ in range(100):
      environment.step(_STAY)
  assert clock.now() - last.time <= 0.5
  # The capture itself gives up as early.
  assert _CAMERAS[0].patience + environment.control_timestep <= 0.5


def _stalled(camera, clock, seconds=np.inf):
  """Has a camera give the present's picture for so long."""
  last, read = camera.read(), camera.read
  camera.read = lambda: last if clock.now() - last.time < seconds else read()


def test_a_camera_that_stalls_just_before_the_end_is_noticed(
  make, driver, clock
):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS, episode_steps=3)
  environment.reset()
  environment.step(_STAY)
  _stalled(camera, clock)
  # The picture is not too old yet, as far as it goes for a step.
  assert environment.step(_STAY).mid()
  with pytest.raises(cameras_lib.CameraError, match=r"'wrist' is 0\.4\d s old"):
    environment.step(_action(x=1.0))
  np.testing.assert_allclose(
    driver.commands[-1], driver.read_state().pose, atol=1e-6
  )
  del camera.read
  assert environment.step(_STAY).first()


def test_an_episode_ends_by_a_picture_of_its_last_step(make, clock):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS, episode_steps=1)
  environment.reset()
  started = clock.now()
  _stalled(camera, clock, seconds=0.25)
  camera.image = np.full_like(camera.image, 9)
  timestep = environment.step(_STAY)
  assert timestep.last() and timestep.observation['wrist'].max() == 9
  assert clock.now() - started == pytest.approx(0.25, abs=0.01)


def test_who_else_ends_an_episode_demands_pictures(make, driver, clock):
  camera = _Camera(clock)
  environment = marked_success.MarkedSuccess(
    make({'wrist': camera}, cameras=_CAMERAS, threshold=None),
    [True, False, True, False].pop,
  )
  environment.reset()
  assert environment.step(_STAY).last()
  environment.reset()
  _stalled(camera, clock)
  with pytest.raises(cameras_lib.CameraError, match='s old'):
    environment.step(_action(x=1.0))
  np.testing.assert_allclose(
    driver.commands[-1], driver.read_state().pose, atol=1e-6
  )
  assert environment.episode_metrics()['success'] == 0


def test_a_picture_of_another_size_is_a_mistake(make, clock):
  environment = make({'wrist': _Camera(clock, size=64)}, cameras=_CAMERAS)
  with pytest.raises(ValueError, match=r'expected uint8 \(128, 128, 3\)'):
    environment.reset()


def test_other_cameras_than_the_configs_are_refused(make, clock):
  with pytest.raises(ValueError, match="expected \\['wrist'\\]"):
    make({'front': _Camera(clock)}, cameras=_CAMERAS)


def test_closing_holds_the_arm_and_lets_the_cameras_go(make, driver, clock):
  camera = _Camera(clock)
  environment = make({'wrist': camera}, cameras=_CAMERAS)
  environment.reset()
  environment.step(_action(x=1.0))
  environment.close()
  np.testing.assert_allclose(
    driver.commands[-1], driver.read_state().pose, atol=1e-6
  )
  assert camera.closed


def test_to_hold_ends_the_episode_and_leaves_the_arm_where_it_is(make, driver):
  environment = make()
  environment.reset()
  environment.step(_action(x=1.0))
  there = driver.read_state().pose
  environment.hold()
  np.testing.assert_allclose(driver.commands[-1], there)
  sent = len(driver.commands)
  environment.hold()  # there is no episode any more
  assert len(driver.commands) == sent
  assert environment.step(_STAY).first()


def test_to_hold_an_arm_that_is_out_of_reach_raises_nothing(make, driver):
  environment = make()
  environment.reset()
  driver.mode = 'reflex'
  environment.hold()
