"""The expert lifts the cube, always."""

import numpy as np
import pytest

from serl import core
from serl.environments.sim import pick_cube
from serl.environments.sim import tasks
from serl.teleop import scripted

SEEDS = 100


@pytest.mark.parametrize('noise', [0.0, 0.05])
def test_lifts_for_every_seed(noise):
  # One environment, reseeded: to compile a hundred would take a minute.
  environment = pick_cube.PickCube(seed=0)
  failed, returns = [], []
  for seed in range(SEEDS):
    environment._rng = np.random.default_rng(seed)
    expert = scripted.PickCubeExpert(noise, seed)
    timestep = environment.reset()
    expert.observe_first(timestep)
    total = 0.0
    while not timestep.last():
      action = expert.select_action(timestep.observation)
      environment.action_spec().validate(action)
      timestep = environment.step(action)
      expert.observe(action, timestep)
      expert.update()
      total += float(timestep.reward)
    returns.append(total)
    if environment.episode_metrics()['success'] != 1.0:
      failed.append(seed)
  assert failed == []
  assert np.mean(returns) > 55.0


def test_lifts_an_empty_gripper_where_it_misses():
  environment = pick_cube.make(seed=0)
  expert = scripted.PickCubeExpert(environment=environment, miss=0.1)
  timestep, highest = environment.reset(), 0.0
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
    closed = timestep.observation['gripper_pos'][0] > 0.5
    if closed:
      highest = max(highest, float(timestep.observation['tcp_pos'][2]))
  assert highest > 0.2
  assert environment.episode_metrics()['success'] == 0.0
  with pytest.raises(ValueError, match='miss=-1'):
    scripted.PickCubeExpert(miss=-1)


@pytest.mark.parametrize('height, success', [(0.12, 0.0), (0.3, 1.0)])
def test_lifts_as_high_as_it_is_told(height, success):
  environment = pick_cube.make(seed=0)
  expert = scripted.PickCubeExpert(
    environment=environment, heights=(height, height)
  )
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
  assert timestep.observation['tcp_pos'][2] == pytest.approx(height, abs=0.01)
  metrics = environment.episode_metrics()
  assert metrics['success'] == success
  assert metrics['lift'] > 0.05
  with pytest.raises(ValueError, match=r'heights=\(0.3, 0.1\)'):
    scripted.PickCubeExpert(heights=(0.3, 0.1))


def test_is_an_actor():
  assert isinstance(scripted.PickCubeExpert(), core.Actor)
  assert scripted.EXPERTS['pick_cube'] is scripted.PickCubeExpert


def test_every_simulated_task_has_an_expert_and_its_noise():
  assert set(scripted.EXPERTS) == set(scripted.NOISES) == set(tasks.TASKS)
  environment = tasks.make('peg_insert', seed=0)
  expert = scripted.EXPERTS['peg_insert'](
    noise=scripted.NOISES['peg_insert'], environment=environment
  )
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(expert.select_action(timestep.observation))
  assert timestep.reward == 1.0
  environment.close()


def test_an_episode_begins_afresh():
  environment = pick_cube.make(seed=0)
  used, fresh = scripted.PickCubeExpert(), scripted.PickCubeExpert()
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(used.select_action(timestep.observation))
  timestep = environment.reset()
  used.observe_first(timestep)
  np.testing.assert_array_equal(
    used.select_action(timestep.observation),
    fresh.select_action(timestep.observation),
  )


def test_noise_is_on_the_translation_and_seeded():
  environment = pick_cube.make(seed=0)
  observation = environment.reset().observation
  actions = [
    scripted.PickCubeExpert(noise, seed).select_action(observation)
    for noise, seed in ((0.0, 0), (0.05, 0), (0.05, 0), (0.05, 1))
  ]
  np.testing.assert_array_equal(actions[1], actions[2])
  assert (actions[1][:3] != actions[0][:3]).all()
  assert (actions[1][:3] != actions[3][:3]).all()
  assert actions[1][3] == actions[0][3]


def test_refuses_negative_noise():
  with pytest.raises(ValueError, match=r'noise=-0\.1'):
    scripted.PickCubeExpert(noise=-0.1)


def test_lifts_what_it_does_not_observe():
  # Without cameras drawn, but as the vision task: the cube is not observed.
  environment = pick_cube.make(seed=0)
  expert = scripted.EXPERTS['pick_cube_vision'](environment=environment)
  for _ in range(3):
    timestep = environment.reset()
    expert.observe_first(timestep)
    while not timestep.last():
      blind = dict(timestep.observation)
      del blind['block_pos']
      timestep = environment.step(expert.select_action(blind))
    assert environment.episode_metrics()['success'] == 1.0


def test_a_cube_that_nobody_tells_is_an_error():
  with pytest.raises(ValueError, match=r"\['tcp_pos'\] has no block_pos"):
    scripted.PickCubeExpert().select_action({'tcp_pos': np.zeros(3)})
