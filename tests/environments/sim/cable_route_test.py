"""The scene of the cable: cable, clip, and what counts as routed."""

import dataclasses
import itertools
import math

import mujoco
import numpy as np
import pytest

from serl.environments.franka.tasks import cable_route as tasks_cable_route
from serl.environments.sim import cable_route
from serl.environments.sim import opengl
from serl.environments.sim import tasks
from serl.teleop import cable_route as expert_lib

TASK = tasks_cable_route.STATE
CABLE, CLIP = cable_route.STATE.cable, cable_route.STATE.clip
# Its resets are quicker than the real arm's.
QUICK = dataclasses.replace(
  TASK, settle_seconds=0.1, lift_seconds=0.5, move_seconds=0.8
)


@pytest.fixture(name='environment', scope='module')
def make_environment():
  return cable_route.make(0, cable_route.Config(QUICK), rewards=False)


# The slot reaches from x = -12 to 12 mm and y = -6 to 6 mm, its mouth is 34 mm
# above the table, and the cable is 4 mm thick to either side.
@pytest.mark.parametrize(
  'points, seated',
  [
    ([(-20, 0, 25), (20, 0, 25)], True),
    ([(-20, 0, 25), (0, 3, 28), (5, -3, 20), (20, 0, 15)], True),
    ([(-20, 0, 29.9), (20, 0, 29.9)], True),
    ([(-20, 0, 30.1), (20, 0, 30.1)], False),  # it stands out
    ([(-20, 0, 60), (20, 0, 60)], False),  # above
    ([(-20, 20, 25), (20, 20, 25)], False),  # beside
    ([(-20, -7, 25), (20, -7, 25)], False),
    (
      [(-20, 0, 37), (20, 0, 17)],
      False,
    ),  # 33 mm above the table where it enters
    ([(-20, 0, 17), (20, 0, 37)], False),  # ... and where it leaves
    ([(-20, 15, 25), (20, -15, 25)], False),  # askew over both walls
    ([(-20, 0, 25), (11, 0, 25)], False),  # too short
    ([(-11, 0, 25), (20, 0, 25)], False),
    ([(20, 0, 25), (30, 0, 25)], False),
    # Bent back above itself.
    ([(-20, 0, 25), (20, 0, 25), (0, 0, 50), (-20, 0, 50)], True),
  ],
)
def test_seated_is_what_runs_through_the_slot(points, seated):
  points = np.array(points, float) / 1000
  assert cable_route.is_seated(points, CABLE, CLIP) == seated


def test_what_is_shown_to_a_classifier_is_clearly_success():
  for height, seated in ((26.9, True), (27.1, False)):
    points = np.array([(-20, 0, height), (20, 0, height)]) / 1000
    assert cable_route.is_seated(points, CABLE, CLIP, 0.003) == seated


def test_a_cable_that_fits_no_clip_is_refused():
  wide = dataclasses.replace(CABLE, radius=0.006)
  with pytest.raises(ValueError, match=r'cable\.radius is 0\.006, expect'):
    cable_route.make_model(dataclasses.replace(cable_route.STATE, cable=wide))


def test_the_cable_bends_as_a_beam_does(environment):
  environment.reset()
  clock = environment.scene.twin.clock
  clock.sleep_until(clock.now() + 1.5)  # no longer swings
  points = environment.scene.cable_points
  area = math.pi * CABLE.radius**2
  weight = CABLE.density * area * 9.81  # N/m
  droop = weight * CABLE.length**4 / (8 * CABLE.bending_stiffness)
  # The tool points 0.0182 rad down from level.
  droop += 0.0182 * CABLE.length
  assert points[0, 2] - points[-1, 2] == pytest.approx(droop, rel=0.02)


def test_without_rewards_success_is_only_told(environment):
  expert = expert_lib.CableRouteExpert(environment=environment)
  timestep = environment.reset()
  successes = []
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
    assert timestep.reward == 0.0 and timestep.discount == 1.0
    successes.append(int(environment.step_extras()['success']))
  # It was seated once and stayed there.
  assert len(successes) == TASK.episode_steps
  assert successes == sorted(successes) and sum(successes) > 70
  assert environment.episode_metrics()['success'] == 1.0
  # The target is the pose with the cable in the clip, half way down the slot.
  away = environment.scene.tool_pose[:3] - TASK.target[:3]
  np.testing.assert_allclose(away, 0.0, atol=0.002)
  # The next reset takes it out.
  environment.reset()
  assert not environment.scene.is_successful()
  assert environment.scene.cable_points[:, 2].min() > CLIP.mouth


def test_on_its_way_out_a_cable_is_unclear_before_it_is_out(environment):
  expert = expert_lib.CableRouteExpert(environment=environment)
  timestep = environment.reset()
  for _ in range(30):
    timestep = environment.step(expert.select_action(timestep.observation))
  seen = []
  slowly_up = np.array([0, 0, 0.04, 0, 0, 0], np.float32)
  while not seen or seen[-1][0]:
    environment.step(slowly_up)
    extras = environment.step_extras()
    seen.append((int(extras['success']), int(extras['unclear'])))
  seen = [pair for pair, _ in itertools.groupby(seen)]
  assert seen == [(1, 0), (1, 1), (0, 0)]


class Beside:
  """A clip that seems to be 2 cm aside."""

  def __init__(self, scene):
    self.task = scene.task
    self.scene = self
    self._scene = scene

  @property
  def tool_pose(self):
    return self._scene.tool_pose

  @property
  def target(self):
    # The slot is along the base's y.
    return self._scene.target + (0.02, 0, 0, 0, 0, 0, 0)


def test_beside_the_clip_is_no_success(environment):
  scene = environment.scene
  expert = expert_lib.CableRouteExpert(environment=Beside(scene))
  environment.reset()
  for _ in range(30):
    environment.step(expert.select_action({}))
  # As low as in the slot.
  points = scene.cable_points
  assert points[0, 2] + CABLE.radius < CLIP.mouth
  assert np.abs(points[:, 1]).min() > 0.015
  assert environment.episode_metrics()['success'] == 0.0


def test_equal_seeds_give_equal_episodes():
  def run(seed):
    made = cable_route.make(seed, cable_route.Config(QUICK))
    rng = np.random.default_rng(0)
    made.reset()
    for action in rng.uniform(-1, 1, (5, 6)).astype(np.float32):
      made.step(action)
    return made.scene.cable_points

  first = run(3)
  np.testing.assert_array_equal(first, run(3))
  assert (first != run(4)).any()


def test_a_clip_that_moves_takes_the_task_along():
  config = dataclasses.replace(cable_route.STATE, clip_xy=0.03, clip_yaw=0.3)
  scene = cable_route.CableRoute(config)
  np.testing.assert_array_equal(scene.task.target, TASK.target)
  rng = np.random.default_rng(0)
  targets = []
  for _ in range(3):
    scene.begin_episode(rng)
    offset = np.subtract(scene.task.target, TASK.target)
    assert (np.abs(offset[:2]) <= 0.03).all() and abs(offset[5]) <= 0.3
    np.testing.assert_array_equal(offset[2:5], 0.0)
    for name in ('reset', 'pose_low', 'pose_high'):
      moved = np.subtract(getattr(scene.task, name), getattr(TASK, name))
      np.testing.assert_allclose(moved, offset, atol=1e-12)
    # From the clip the target is always the same: in front of the slot.
    mujoco.mj_forward(scene.twin.model, scene.twin.data)
    clip = scene.twin.data.body('clip')
    seen = clip.xmat.reshape(3, 3).T @ (scene.target[:3] - clip.xpos)
    np.testing.assert_allclose(seen, (-0.045, 0.0, 0.0263), atol=1e-9)
    targets.append(scene.task.target)
  assert len(set(targets)) == 3


def share(image, colour):
  """Returns the share of an image, [H, W, 3], where one channel stands out."""
  others = np.delete(image, colour, axis=-1).max(axis=-1).astype(int)
  return (image[..., colour] > others + 60).mean()


def test_both_cameras_see_the_cable_and_the_clip():
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(str(error))
  environment = tasks.make('cable_route_vision', seed=0, image_size=64)
  expert = expert_lib.CableRouteExpert(environment=environment)
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
  assert timestep.reward == 1.0
  for name, clip in (('wrist_1', 0.005), ('wrist_2', 0.03)):
    image = timestep.observation[name]
    assert image.shape == (64, 64, 3)
    assert share(image, 0) > 0.01  # orange
    assert share(image, 2) > clip  # blue
  environment.close()
