"""A switch costs, obedience does not."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.sim import pick_cube
from serl.environments.wrappers import action_chunking
from serl.environments.wrappers import flatten_observation
from serl.environments.wrappers import gripper_penalty
from serl.environments.wrappers import normalize_observation


class GripperPenaltyTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return gripper_penalty.GripperPenalty(pick_cube.PickCube(seed=0))


class _Gripper(dm_env.Environment):
  """Goes, in one step, to where `closing` of an action or more takes it."""

  def __init__(self, closing=0.5, position=0.0):
    self._closing = closing
    self._start = position

  def reset(self):
    self._position = self._start
    return dm_env.restart(self._observe())

  def step(self, action):
    asked = action[1] / self._closing
    if abs(asked) >= 1:
      self._position = float(asked > 0)
    return dm_env.transition(np.float32(1.0), self._observe())

  def _observe(self):
    return {'gripper_pos': np.float32([self._position])}

  def observation_spec(self):
    return {'gripper_pos': specs.BoundedArray((1,), np.float32, 0, 1)}

  def action_spec(self):
    return specs.BoundedArray((2,), np.float32, -1, 1)

  def reward_spec(self):
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='reward')


def _rewards(environment, actions):
  environment.reset()
  return [float(environment.step(np.array([9.0, a])).reward) for a in actions]


@pytest.mark.parametrize('closing', [0.5, None])
def test_only_a_switch_costs(closing):
  environment = gripper_penalty.GripperPenalty(
    _Gripper(), penalty=0.25, closing=closing
  )
  #          idle, open already, not enough, closes, closed, opens, opened
  actions = [0.0, -1.0, 0.49, 0.5, 1.0, -0.5, -1.0]
  costs = [1 - reward for reward in _rewards(environment, actions)]
  assert costs == [0, 0, 0, 0.25, 0, 0.25, 0]
  metrics = environment.episode_metrics()
  assert metrics == {'gripper_switches': 2.0, 'reward/gripper': -0.5}


def test_an_episode_counts_anew_and_may_begin_closed():
  environment = gripper_penalty.GripperPenalty(
    _Gripper(position=1.0), penalty=0.25
  )
  for _ in range(2):
    assert _rewards(environment, [1.0, -1.0]) == [1.0, 0.75]
    assert environment.episode_metrics()['gripper_switches'] == 1.0


def test_on_the_real_arm_lower_actions_close():
  environment = gripper_penalty.GripperPenalty(
    _Gripper(closing=-0.5), 0.25, closing=-0.5
  )
  assert _rewards(environment, [1.0, -1.0, -1.0, 1.0]) == [1, 0.75, 1, 0.75]


def test_the_state_of_the_gripper_is_asked_for():
  # Judged by a gripper that is always closed, each opening is a switch.
  environment = gripper_penalty.GripperPenalty(
    _Gripper(), 0.25, closing=0.5, is_closed=lambda _: True
  )
  assert _rewards(environment, [-1.0, -1.0, 1.0]) == [0.75, 0.75, 1]


def test_penalises_the_cube_picks_gripper():
  environment = gripper_penalty.GripperPenalty(pick_cube.PickCube(seed=0))
  plain = pick_cube.PickCube(seed=0)
  actions = np.zeros((4, 4), np.float32)
  actions[:, 3] = 0.0, 1.0, 1.0, -1.0
  costs = []
  for environment_under_test in (environment, plain):
    environment_under_test.reset()
    costs.append([environment_under_test.step(a).reward for a in actions])
  np.testing.assert_allclose(
    np.subtract(*costs), [0.0, -0.1, 0.0, -0.1], atol=1e-6
  )
  terms = environment.episode_metrics()
  assert terms['reward/gripper'] == pytest.approx(-0.2)
  assert 'reward/reach' in terms


def test_small_moves_of_the_cube_picks_gripper_cost_once_it_switches():
  environment = gripper_penalty.GripperPenalty(pick_cube.PickCube(seed=0))
  environment.reset()
  # To 0.4, 0.8, then back to 0.4 and to 0.
  for grip in (0.4, 0.4, -0.4, -0.4):
    environment.step(np.float32([0, 0, 0, grip]))
  assert environment.episode_metrics()['gripper_switches'] == 2


@pytest.mark.parametrize(
  ('wrap', 'message'),
  [
    (flatten_observation.FlattenObservation, "'gripper_pos' is None"),
    (normalize_observation.NormalizeObservation, 'expected 0 .open. to 1'),
    (lambda e: action_chunking.ActionChunking(e, 3), '3 actions in a row'),
  ],
)
def test_refuses_what_it_would_misread(wrap, message):
  wrapped = wrap(pick_cube.PickCube(seed=0))
  with pytest.raises(ValueError, match=message):
    gripper_penalty.GripperPenalty(wrapped)


def test_the_reward_may_be_less_than_before():
  environment = gripper_penalty.GripperPenalty(_Gripper(), penalty=0.25)
  spec = environment.reward_spec()
  assert (spec.minimum, spec.maximum) == (-0.25, 1.0)
  environment.reset()
  assert environment.step(np.array([0.0, 1.0])).reward.dtype == np.float32


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'penalty': -0.1}, 'penalty=-0.1'),
    ({'penalty': float('nan')}, 'penalty=nan'),
    ({'index': 2}, r'index=2; the actions have shape \(2,\)'),
    ({'index': -3}, 'index=-3'),
    ({'closing': 0.0}, 'closing=0.0'),
  ],
)
def test_refuses_numbers_that_mean_nothing(arguments, message):
  with pytest.raises(ValueError, match=message):
    gripper_penalty.GripperPenalty(_Gripper(), **arguments)
