"""Tasks of dm_control, by the conventions of this library."""

import functools

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments import adapters

pytest.importorskip('dm_control', reason='the extra [dm_control] is missing')


class DMControlTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return adapters.from_dm_control('cartpole', 'swingup')


def _actions(environment, count, seed=0):
  rng = np.random.default_rng(seed)
  size = environment.action_spec().shape
  return rng.uniform(-1, 1, (count, *size)).astype(np.float32)


def test_takes_and_gives_floats_of_32_bits():
  environment = adapters.from_dm_control('walker', 'walk')
  spec = specs.make_environment_spec(environment)
  leaves = [*specs.flatten(spec.observations).values(), *spec[1:]]
  assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}
  assert (spec.actions.minimum, spec.actions.maximum) == (-1, 1)
  assert spec.observations.keys() == {'orientations', 'height', 'velocity'}
  timestep = environment.reset()
  for name, leaf in spec.observations.items():
    leaf.validate(timestep.observation[name])


def test_a_time_limit_is_no_termination():
  make = functools.partial(
    adapters.from_dm_control, 'cartpole', 'balance', action_repeat=8
  )
  environment = make(task_kwargs={'time_limit': 1.0})
  timestep, steps = environment.reset(), 0
  while not timestep.last():
    timestep = environment.step(np.zeros(1, np.float32))
    steps += 1
  # 100 steps of 10 ms, of which eight are one action.
  assert steps == 13
  assert timestep.discount == 1
  assert environment.control_timestep == pytest.approx(0.08)
  assert environment.step(np.zeros(1, np.float32)).first()


def test_equal_seeds_give_equal_episodes():
  def play(seed):
    environment = adapters.from_dm_control('reacher', 'easy', seed)
    first = environment.reset()
    later = [environment.step(a) for a in _actions(environment, 5)]
    return np.concatenate([t.observation['position'] for t in (first, *later)])

  np.testing.assert_array_equal(play(1), play(1))
  assert (play(1) != play(2)).any()


def test_actions_repeat_with_the_sum_of_their_rewards():
  once = adapters.from_dm_control('cartpole', 'balance', 3)
  fourfold = adapters.from_dm_control('cartpole', 'balance', 3, action_repeat=4)
  once.reset()
  fourfold.reset()
  (action,) = _actions(once, 1)
  singles = [once.step(action) for _ in range(4)]
  several = fourfold.step(action)
  assert several.reward == pytest.approx(sum(t.reward for t in singles))
  np.testing.assert_array_equal(
    several.observation['position'], singles[-1].observation['position']
  )


def test_clips_actions_and_refuses_what_is_none():
  environment = adapters.from_dm_control('cartpole', 'balance')
  environment.reset()
  environment.step(np.full(1, 3.0))
  with pytest.raises(ValueError, match='NaN or infinity'):
    environment.step(np.full(1, np.nan))


def test_actions_without_bounds_are_refused():
  # For none, MuJoCo has 1e10.
  with pytest.raises(ValueError, match='real numbers with finite bounds'):
    adapters.from_dm_control('lqr', 'lqr_2_1')


def test_does_not_report_success():
  environment = adapters.from_dm_control('reacher', 'easy')
  environment.reset()
  assert environment.episode_metrics() == {}


def test_makes_pictures():
  environment = adapters.from_dm_control('cartpole', 'balance')
  environment.reset()
  picture = environment.render(height=32, width=48)
  assert (picture.shape, picture.dtype) == ((32, 48, 3), np.uint8)
  assert picture.std() > 0
  with pytest.raises(ValueError, match="No camera 'nowhere'"):
    environment.render('nowhere')
  environment.close()


def test_names_with_slashes_are_names_within_names():
  from dm_control import manipulation

  environment = adapters.agent_ready(
    adapters.DMControl(manipulation.load('reach_site_features', seed=0))
  )
  spec = environment.observation_spec()
  assert spec['jaco_arm']['joints_pos'].dtype == np.float32
  observation = environment.reset().observation
  for path, leaf in specs.flatten(spec).items():
    leaf.validate(specs.flatten(observation)[path])
  # As a run's folder keeps it.
  assert (
    specs.differences(
      specs.to_dict(specs.from_dict(specs.to_dict(spec))), specs.to_dict(spec)
    )
    == []
  )


@pytest.mark.parametrize(
  'domain, task, known',
  [('walker', 'fly', "'run', 'stand', 'walk'"), ('wolker', 'walk', "'walker'")],
)
def test_names_the_tasks_that_there_are(domain, task, known):
  with pytest.raises(ValueError, match=known):
    adapters.from_dm_control(domain, task)
