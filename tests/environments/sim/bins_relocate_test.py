"""The bins: where a cube may lie, what is success, and who puts it where."""

import dataclasses

import mujoco
import numpy as np
import pytest

from serl.environments.franka.tasks import bins_relocate as task_lib
from serl.environments.sim import bins_relocate
from serl.environments.sim import opengl
from serl.teleop import bins_relocate as expert_lib


@pytest.fixture(name='bins', scope='module')
def make_bins():
  return bins_relocate.Bins()


def drop(bins, *offset, seconds=1.0):
  """Lets the cube fall somewhere beside the middle of the bins, m."""
  twin = bins.twin
  twin.restart()
  bins._pose[:3] = bins.centre + offset
  mujoco.mj_forward(twin.model, twin.data)
  twin.clock.sleep_until(twin.now() + seconds)


@pytest.mark.parametrize(
  'offset, side',
  [
    ((0.0, 0.1, 0.03), 1),
    ((0.0, -0.1, 0.03), -1),
    ((0.0, 0.005, 0.08), 1),  # from the ridge it slides into a bin
    ((0.07, -0.15, 0.08), -1),  # as far as a tool lets go of it
    ((-0.13, 0.06, 0.08), 1),  # from the sides, too
    ((0.03, 0.20, 0.08), 1),
  ],
)
def test_it_comes_to_rest_within_reach(bins, offset, side):
  drop(bins, *offset, seconds=2.0)
  assert bins.side() == side and bins.is_at_rest()
  assert bins.cube_position[2] == pytest.approx(0.045, abs=0.003)
  # Around it the open fingers fit, with the tool within its limits.
  away = bins.cube_position[:2] - bins.centre[:2]
  assert abs(away[0]) < 0.07 + 0.02 and abs(away[1]) < 0.15 + 0.01


def test_a_cube_that_moves_or_is_outside_is_in_no_bin(bins):
  drop(bins, 0.0, 0.1, 0.3, seconds=0.1)
  assert not bins.is_at_rest()
  assert bins.side() == 0
  drop(bins, 0.3, 0.1, 0.0)
  assert bins.is_at_rest() and bins.side() == 0


def test_success_is_a_cube_at_rest_in_the_other_bin(bins):
  forward = bins_relocate.BinsRelocate(bins)
  backward = bins_relocate.BinsRelocate(bins, bins_relocate.BACKWARD)
  # Forward leads to smaller y.
  for side, done in ((-1, (True, False)), (1, (False, True))):
    bins.put(side, np.random.default_rng(0))
    assert (forward.is_successful(), backward.is_successful()) == done
    goals = forward.goal, backward.goal
    assert [np.sign(goal[1] - bins.centre[1]) for goal in goals] == [-1, 1]


def test_for_a_classifier_the_cube_begins_anywhere_in_either_bin(bins):
  config = dataclasses.replace(bins_relocate.FORWARD, anywhere=True)
  scene = bins_relocate.BinsRelocate(bins, config)
  rng = np.random.default_rng(0)
  places = []
  for _ in range(40):
    scene.begin_episode(rng)
    bins.twin.clock.sleep_until(bins.twin.now() + 1.0)
    assert bins.side() != 0 and bins.is_at_rest()
    places.append((bins.side(), *np.abs(bins.cube_position - bins.centre)[:2]))
  sides, along, across = np.array(places).T
  assert 10 < np.sum(sides == 1) < 30
  assert along.max() > 0.07
  assert across.min() < 0.065 and across.max() > 0.14


def test_a_cube_in_the_fingers_is_no_success(bins):
  backward = bins_relocate.BinsRelocate(bins, bins_relocate.BACKWARD)
  drop(bins, 0.0, 0.1, 0.021)
  twin = bins.twin
  assert backward.is_successful()
  pose = twin.read_state().pose.copy()
  for height in (0.15, 0.05):
    pose[:3] = (*bins.cube_position[:2], height)
    twin.command_pose(pose)
    twin.clock.sleep_until(twin.now() + 3.0)
  assert backward.is_successful()
  twin.gripper.close()
  twin.clock.sleep_until(twin.now() + 1.0)
  assert bins.side() == 1 and not backward.is_successful()
  # That is clear to see: for a classifier it is a failure.
  assert bins.is_held() and not backward.is_unclear()
  twin.gripper.open()
  twin.clock.sleep_until(twin.now() + 1.0)
  assert backward.is_successful() and not backward.is_unclear()


def test_a_cube_that_the_arm_pushes_or_that_slides_is_unclear(bins):
  backward = bins_relocate.BinsRelocate(bins, bins_relocate.BACKWARD)
  forward = bins_relocate.BinsRelocate(bins)
  drop(bins, 0.0, 0.1, 0.021)
  twin = bins.twin
  pose = twin.read_state().pose.copy()
  twin.gripper.close()
  seen = []
  for x, height in ((-0.07, 0.15), (-0.07, 0.05), (-0.02, 0.05)):
    pose[:3] = (bins.centre[0] + x, bins.cube_position[1], height)
    twin.command_pose(pose)
    for _ in range(20):
      twin.clock.sleep_until(twin.now() + 0.1)
      seen.append((backward.is_successful(), backward.is_unclear()))
      assert not forward.is_unclear()
  assert seen[0] == (True, False) and (False, True) in seen
  assert (True, True) not in seen


def test_before_an_episode_the_cube_is_brought_where_it_can_be_moved(bins):
  rng = np.random.default_rng(0)
  forward = bins_relocate.BinsRelocate(bins)
  backward = bins_relocate.BinsRelocate(
    bins, bins_relocate.BACKWARD, brings_back=False
  )
  places = set()
  for _ in range(2):
    bins.put(-1, rng)
    forward.begin_episode(rng)
    assert bins.side() == 1
    places.add(tuple(bins.cube_position[:2]))
    # In the bin that it is to leave, it stays.
    forward.begin_episode(rng)
    places.add(tuple(bins.cube_position[:2]))
  assert len(places) == 2
  # Where the other direction moves it back, it stays everywhere, ...
  before = bins.cube_position
  backward.begin_episode(rng)
  np.testing.assert_array_equal(bins.cube_position, before)
  # ... but out of reach.
  drop(bins, 0.3, 0.1, 0.0)
  assert forward.rescues == backward.rescues == 0
  backward.begin_episode(rng)
  assert bins.side() == -1 and backward.rescues == 1
  assert backward.episode_metrics() == {'rescues': 1.0}
  # It is no matter of the episodes after that.
  backward.begin_episode(rng)
  assert backward.episode_metrics() == {'rescues': 0.0}
  assert backward.rescues == 1


def test_the_cube_is_observed_from_the_tool(bins):
  environment = bins_relocate.make(seed=0)
  observation = environment.reset().observation
  spec = environment.observation_spec()
  assert set(observation) == set(spec)
  for name in ('object_pos', 'object_offset'):
    spec[name].validate(observation[name])
  np.testing.assert_allclose(
    observation['tcp_pose'][:3] + observation['object_offset'],
    observation['object_pos'],
    atol=1e-6,
  )
  assert environment.action_spec().shape == (7,)
  assert environment.reward_spec().minimum == np.float32(-0.1)
  environment.close()


def test_equal_seeds_give_equal_episodes():
  def run(seed):
    environment = bins_relocate.make(seed, bins_relocate.BACKWARD)
    rng = np.random.default_rng(0)
    environment.reset()
    actions = rng.uniform(-1, 1, (3, 7)).astype(np.float32)
    steps = [environment.step(action).observation for action in actions]
    return np.array([(*s['tcp_pose'][:3], *s['object_pos']) for s in steps])

  np.testing.assert_array_equal(run(3), run(3))
  assert (run(3) != run(4)).any()


def test_there_and_back_again_without_a_hand():
  environment = bins_relocate.make_alternating(seed=0)
  expert = expert_lib.BinsRelocateExpert(environment=environment)
  tasks, cube = [], None
  for _ in range(3):
    timestep = environment.reset()
    tasks.append(environment.task)
    if cube is not None:
      moved = environment.scene.cube_position - cube
      np.testing.assert_allclose(moved, 0.0, atol=1e-4)
    expert.observe_first(timestep)
    while not timestep.last():
      timestep = environment.step(expert.select_action(timestep.observation))
    assert timestep.discount == 0.0 and environment.scene.is_successful()
    assert environment.step_extras()['success'] == 1
    metrics = environment.episode_metrics()
    assert metrics['gripper_switches'] == 2.0 and metrics['rescues'] == 0.0
    cube = environment.scene.cube_position
    assert environment.scene.rescues == 0
  assert tasks == ['forward', 'backward', 'forward']
  assert environment.next_task == 'backward'
  environment.close()


def test_the_front_camera_sees_the_cube_in_either_bin(bins):
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(str(error))
  config = dataclasses.replace(task_lib.FORWARD, image_size=64)
  environment = bins_relocate.make(0, bins_relocate.Config(config))
  environment.reset()
  scene = environment.scene
  rows, columns = [], []
  for side in (-1, 1):
    scene.bins.put(side, np.random.default_rng(0))
    # As the reset leaves it where it is.
    scene.goal_side = -side
    image = environment.reset().observation['front'].astype(int)
    red = image[..., 0] > image[..., 1:].max(axis=-1) + 60
    assert red.sum() > 15
    row, column = np.nonzero(red)
    rows.append(row.mean())
    columns.append(column.mean())
  # The bin at smaller y is nearer and on the left.
  assert rows[0] > rows[1] + 8 and columns[0] < columns[1] - 8
  environment.close()
