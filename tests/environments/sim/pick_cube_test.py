"""PickCube keeps dm_env's contract, SERL's constants and its own promises."""

import dataclasses
import os
import subprocess
import sys

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import mujoco
import numpy as np
import pytest

from serl.environments.sim import opengl
from serl.environments.sim import pick_cube
from serl.teleop import scripted

STILL = np.zeros(4, np.float32)
SMALL = dataclasses.replace(pick_cube.VISION, image_size=32)


def skip_without_opengl():
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(f'no OpenGL: {error}')


@pytest.fixture(name='environment')
def make_environment():
  environment = pick_cube.make(seed=0)
  yield environment
  environment.close()


@pytest.fixture(name='vision')
def make_vision_environment():
  skip_without_opengl()
  environment = pick_cube.make_vision(seed=0, config=SMALL)
  yield environment
  environment.close()


class PickCubeTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return pick_cube.PickCube(seed=0)


class GuardedPickCubeTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return pick_cube.make(seed=0)


class VisionPickCubeTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    skip_without_opengl()
    return pick_cube.make_vision(seed=0, config=SMALL)


def rollout(environment, actions):
  """Every number that an agent sees, one row a step."""
  rows = []
  for action in actions:
    timestep = environment.step(action)
    reward = np.float32(-1 if timestep.first() else timestep.reward)
    rows.append(
      np.concatenate([*timestep.observation.values(), [reward]], axis=0)
    )
  return np.array(rows)


def place_block(environment, position):
  """Lets the cube float, at rest, at a position."""
  environment.model.opt.gravity[:] = 0.0
  joint = environment.data.joint('block')
  joint.qpos[:3] = position
  joint.qvel[:] = 0.0
  mujoco.mj_forward(environment.model, environment.data)


def test_equal_seeds_give_equal_bits():
  actions = np.random.default_rng(1).uniform(-1, 1, (1000, 4))
  first = rollout(pick_cube.make(seed=7), actions)
  second = rollout(pick_cube.make(seed=7), actions)
  np.testing.assert_array_equal(first, second)
  assert np.ptp(first, axis=0).min() > 0.0
  other = rollout(pick_cube.make(seed=8), actions[:1])
  assert not np.array_equal(first[0], other[0])


def test_an_episode_leaves_no_trace(environment):
  environment.reset()
  for action in np.random.default_rng(2).uniform(-1, 1, (60, 4)):
    environment.step(action)
  environment.reset()
  after = np.array(environment.data.qpos[:7])
  fresh = pick_cube.make(seed=0)
  fresh.reset()
  np.testing.assert_array_equal(after, fresh.data.qpos[:7])
  np.testing.assert_array_equal(environment.data.qvel, 0.0)


def test_time_limit_is_last_with_discount_one(environment):
  timestep = environment.reset()
  for _ in range(99):
    timestep = environment.step(STILL)
    assert timestep.mid()
  timestep = environment.step(STILL)
  assert timestep.step_type == dm_env.StepType.LAST
  assert timestep.discount == 1.0
  assert environment.step(STILL).first()


def test_cube_starts_on_the_table_within_its_area(environment):
  starts = np.array(
    [environment.reset().observation['block_pos'] for _ in range(200)]
  )
  assert (starts[:, 0] >= 0.25).all() and (starts[:, 0] <= 0.55).all()
  assert (np.abs(starts[:, 1]) <= 0.25).all()
  np.testing.assert_allclose(starts[:, 2], 0.02, atol=1e-6)
  assert (np.ptp(starts[:, :2], axis=0) > (0.25, 0.45)).all()


def test_cube_rests(environment):
  first = environment.reset()
  for _ in range(100):
    last = environment.step(STILL)
  np.testing.assert_allclose(
    last.observation['block_pos'], first.observation['block_pos'], atol=1e-4
  )
  assert environment.episode_metrics()['success'] == 0.0


def test_actions_accumulate_on_the_target_inside_the_workspace(environment):
  start = environment.reset().observation['tcp_pos']
  for _ in range(2):
    environment.step(np.array((0.1, 0.2, -0.3, 0.0)))
  for _ in range(60):
    timestep = environment.step(STILL)
  np.testing.assert_allclose(
    timestep.observation['tcp_pos'] - start, (0.02, 0.04, -0.06), atol=4e-3
  )
  environment.reset()
  for _ in range(100):
    timestep = environment.step(np.array((1.0, -1.0, 1.0, 0.0)))
  np.testing.assert_allclose(
    timestep.observation['tcp_pos'], (0.6, -0.3, 0.5), atol=6e-3
  )


def test_gripper_actions_accumulate(environment):
  environment.reset()
  closing = [
    environment.step(np.array((0, 0, 0, action))).observation['gripper_pos'][0]
    for action in (0.25, 0.5, 1.0, -0.25, -1.0)
  ]
  np.testing.assert_allclose(closing, (0.25, 0.75, 1.0, 0.75, 0.0), atol=1e-6)


def test_reward_of_a_near_high_cube_by_hand(environment):
  timestep = environment.reset()
  place_block(environment, timestep.observation['tcp_pos'] + (0.05, 0.0, 0.0))
  # 0.3 exp(-20 * 0.05) = 0.3 * 0.367879, and 0.7 in full: it is 0.4 m up. The
  # tool straightens itself meanwhile, by some 0.1 mm.
  assert environment.step(STILL).reward == pytest.approx(0.810364, abs=5e-4)
  metrics = environment.episode_metrics()
  assert metrics['reward/reach'] == pytest.approx(0.110364, abs=5e-4)
  assert metrics['reward/lift'] == pytest.approx(0.7)
  assert metrics['success'] == 1.0


def test_reward_of_a_far_low_cube_by_hand(environment):
  environment.reset()
  place_block(environment, (0.55, 0.25, 0.07))
  # A quarter of the lift; 0.5 m away, reach is nothing.
  assert environment.step(STILL).reward == pytest.approx(0.175, abs=1e-4)
  assert environment.episode_metrics()['lift'] == pytest.approx(0.05, abs=1e-5)
  assert environment.episode_metrics()['success'] == 0.0


def test_metrics_add_up_to_the_return_and_start_anew(environment):
  assert environment.episode_metrics() == {}
  expert = scripted.PickCubeExpert()
  timestep = environment.reset()
  total = 0.0
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
    total += float(timestep.reward)
  metrics = environment.episode_metrics()
  terms = metrics['reward/reach'] + metrics['reward/lift']
  assert terms == pytest.approx(total, abs=1e-3)
  assert metrics['success'] == 1.0
  assert 0.2 <= metrics['lift'] < 0.4
  environment.reset()
  assert set(environment.episode_metrics().values()) == {0.0}


def test_fingers_hold_the_cube(environment):
  expert = scripted.PickCubeExpert()
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
  model, data = environment.model, environment.data
  touching = set()
  for contact in data.contact:
    bodies = [model.body(model.geom_bodyid[geom]).name for geom in contact.geom]
    if 'block' in bodies:
      touching.update(bodies)
  assert touching == {
    'block',
    'panda/gripper/left_pad',
    'panda/gripper/right_pad',
  }


def test_observations_saturate_at_the_bounds(environment):
  environment.reset()
  place_block(environment, (2.0, -2.0, 0.1))
  observation = environment.step(np.array((1.0, 1.0, -1.0, 0.0))).observation
  spec = environment.observation_spec()
  for name, value in observation.items():
    spec[name].validate(value)
  np.testing.assert_allclose(
    observation['block_pos'], (0.62, -0.32, 0.1), atol=1e-3
  )


def test_the_config_is_what_runs():
  config = dataclasses.replace(
    pick_cube.Config(), episode_steps=3, block_low=(0.4, 0.1),
    block_high=(0.4, 0.1), velocity_bound=0.01,
  )  # fmt: skip
  environment = pick_cube.make(seed=0, config=config)
  timestep = environment.reset()
  np.testing.assert_allclose(timestep.observation['block_pos'][:2], (0.4, 0.1))
  for _ in range(3):
    timestep = environment.step(np.ones(4))
  assert timestep.last()
  np.testing.assert_allclose(timestep.observation['tcp_vel'][1], 0.01)


def test_malformed_actions_move_nothing(environment):
  environment.reset()
  environment.step(STILL)
  before = environment.data.qpos.copy(), environment.data.time
  for action in (np.full(4, np.nan), np.zeros(3), None):
    with pytest.raises(ValueError, match=r'expected'):
      environment.step(action)
  np.testing.assert_array_equal(environment.data.qpos, before[0])
  assert environment.data.time == before[1]


def test_divergence_is_told(environment, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)  # MuJoCo logs its warnings where it runs
  environment.reset()
  environment.data.joint('block').qvel[:] = np.nan
  with pytest.raises(FloatingPointError, match='diverged at step 1'):
    environment.step(STILL)


def test_step_extras_tell_whether_the_cube_is_up_now(environment):
  assert environment.step_extras() == {'success': 0}
  environment.reset()
  for height, success in ((0.1, 0), (0.3, 1), (0.1, 0)):
    place_block(environment, (0.5, 0.0, height))
    environment.step(STILL)
    extras = environment.step_extras()
    assert extras == {'success': success}
    assert extras['success'].dtype == np.uint8
  assert environment.episode_metrics()['success'] == 1.0
  environment.reset()
  assert environment.step_extras() == {'success': 0}


def test_images_stand_for_the_cubes_position(vision):
  spec = vision.observation_spec()
  assert list(spec) == ['front', 'wrist', 'gripper_pos', 'tcp_pos', 'tcp_vel']
  observation = vision.reset().observation
  for name, value in observation.items():
    spec[name].validate(value)
  for camera in ('front', 'wrist'):
    assert observation[camera].shape == (32, 32, 3)
    assert observation[camera].dtype == np.uint8
  assert not np.array_equal(observation['front'], observation['wrist'])


def test_what_is_seen_changes_no_physics(vision):
  state = pick_cube.make(seed=0)
  actions = np.random.default_rng(4).uniform(-1, 1, (150, 4))
  for action in actions:
    seen, known = vision.step(action), state.step(action)
    assert seen.reward == known.reward
    for name in ('gripper_pos', 'tcp_pos', 'tcp_vel'):
      np.testing.assert_array_equal(
        seen.observation[name], known.observation[name]
      )
  np.testing.assert_array_equal(vision.data.qpos, state.data.qpos)
  np.testing.assert_array_equal(vision.data.qvel, state.data.qvel)
  np.testing.assert_array_equal(vision.block_position, state.block_position)


def test_equal_seeds_give_equal_images(vision):
  other = pick_cube.make_vision(seed=0, config=SMALL)
  actions = np.random.default_rng(5).uniform(-1, 1, (20, 4))
  for action in actions:
    first, second = vision.step(action), other.step(action)
    for camera in ('front', 'wrist'):
      np.testing.assert_array_equal(
        first.observation[camera], second.observation[camera]
      )
  other.close()


def test_an_observed_image_is_not_drawn_over(vision):
  image = vision.reset().observation['wrist']
  before = image.copy()
  for _ in range(5):
    vision.step(np.array((0.5, 0.5, -0.5, 1.0)))
  np.testing.assert_array_equal(image, before)


def red(image):
  """The pixels of the cube, as (rows, columns)."""
  image = image.astype(int)
  others = np.maximum(image[..., 1], image[..., 2])
  return np.nonzero((image[..., 0] > 60) & (image[..., 0] > 2 * others))


def test_the_cube_is_seen_wherever_it_starts():
  skip_without_opengl()
  config = dataclasses.replace(pick_cube.VISION, image_size=64)
  environment = pick_cube.make_vision(config=config)
  centres = {'front': {}, 'wrist': {}}
  for x in (0.25, 0.4, 0.55):
    for y in (-0.25, 0.0, 0.25):
      environment.reset()
      place_block(environment, (x, y, 0.02))
      observation = environment.step(STILL).observation
      for camera, centre in centres.items():
        rows, columns = red(observation[camera])
        centre[x, y] = rows.mean(), columns.mean()
        if camera == 'front':
          assert np.ptp(rows) >= 3 and np.ptp(columns) >= 3, (x, y)
        assert len(rows) >= 6, (camera, x, y)
  environment.close()
  # The front camera looks towards the base and the wrist's away from it.
  front, wrist = centres['front'], centres['wrist']
  assert front[0.55, 0.0][0] > front[0.25, 0.0][0] + 10
  assert wrist[0.55, 0.0][0] < wrist[0.25, 0.0][0] - 10
  assert front[0.4, 0.25][1] > front[0.4, -0.25][1] + 20
  assert wrist[0.4, 0.25][1] < wrist[0.4, -0.25][1] - 20


def test_a_held_cube_stays_before_the_wrist_and_rises_in_front(vision):
  expert = scripted.PickCubeExpert(environment=vision)
  timestep = vision.reset()
  first = timestep.observation
  while not timestep.last():
    timestep = vision.step(expert.select_action(timestep.observation))
  assert vision.step_extras() == {'success': 1}
  rows, columns = red(timestep.observation['wrist'])
  # Between the fingers, and large.
  assert len(rows) > 20
  assert abs(columns.mean() - 15.5) < 2
  rose = red(first['front'])[0].mean() - red(timestep.observation['front'])[0]
  assert rose.mean() > 5


@pytest.mark.parametrize(
  'change, message',
  [
    ({'physics_timestep': 0.03}, 'a multiple of physics_timestep, 0.03'),
    ({'physics_timestep': 0.003}, 'control_timestep is 0.02, expected a mult'),
    ({'control_timestep': 0.0}, 'control_timestep is 0.0'),
    ({'episode_steps': 0}, 'episode_steps is 0, expected a whole number'),
    ({'cameras': ('front', 'front')}, 'expected each once'),
    ({'block_low': (1.0, 0.0)}, 'none of them above block_high'),
  ],
)
def test_configurations_that_mean_nothing_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(pick_cube.VISION, **change)


def test_wrong_cameras_and_sizes_are_refused():
  for change, message in (
    ({'cameras': ('front', 'side')}, "No camera 'side'; the model has"),
    ({'image_size': 0}, 'image_size is 0, expected'),
    ({'cameras': ()}, r'cameras=\(\); expected some'),
  ):
    with pytest.raises(ValueError, match=message):
      pick_cube.make_vision(
        config=dataclasses.replace(pick_cube.VISION, **change)
      )


def test_state_needs_no_opengl_and_nothing_heavy():
  code = (
    'import sys, numpy as np\n'
    'from serl.environments.sim import tasks\n'
    'environment = tasks.make("pick_cube")\n'
    'environment.reset(), environment.step(np.zeros(4))\n'
    'heavy = {"OpenGL", "jax", "scipy", "imageio", "tensorflow", "reverb",'
    ' "launchpad"}\n'
    'sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules)'
    ' else 0)\n'
  )
  environment = {
    name: value for name, value in os.environ.items()
    if name != 'MUJOCO_GL'
  }  # fmt: skip
  done = subprocess.run(
    [sys.executable, '-c', code],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
