"""Tests for relative_frame."""

import math

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import action_chunking
from serl.environments.wrappers import relative_frame
from serl.testing import fakes

_HALF = math.sqrt(0.5)
_UP = (0.0, 0.0, 0.0, 1.0)
_DOWN = (1.0, 0.0, 0.0, 0.0)  # half a turn about x
_LEFT = (0.0, 0.0, _HALF, _HALF)  # a quarter about z


class _Environment(dm_env.Environment):
  """Is where it is told to be, one pose after another; keeps the actions."""

  def __init__(self, *poses, velocity=(0,) * 6, actions=7):
    self._poses = [np.array(pose, np.float32) for pose in poses]
    self._velocity = np.array(velocity, np.float32)
    self._size = actions
    self.actions = []
    self._step = 0

  def _observation(self):
    return {
      'tcp_pose': self._poses[self._step],
      'tcp_vel': self._velocity,
      'tcp_force': np.ones(3, np.float32),
    }

  def reset(self):
    self._step = 0
    return dm_env.restart(self._observation())

  def step(self, action):
    self.actions.append(action)
    self._step += 1
    return dm_env.transition(0.0, self._observation())

  def observation_spec(self):
    return {
      'tcp_pose': specs.BoundedArray(
        (7,), np.float32, [0.5, 0.0, 0.1] + [-1] * 4, [0.6, 0.2, 0.4] + [1] * 4
      ),
      'tcp_vel': specs.BoundedArray((6,), np.float32, -1.0, 1.0),
      'tcp_force': specs.Array((3,), np.float32),
    }

  def action_spec(self):
    return specs.BoundedArray((self._size,), np.float32, -1.0, 1.0)


def _wrap(*args, lever=True, **kwargs):
  inner = _Environment(*args, **kwargs)
  return relative_frame.RelativeFrame(inner, lever), inner


def test_the_adjoint_of_a_frame_that_is_only_moved():
  # v stays; w gets p x v: for v = (1, 0, 0) and p = (1, 2, 3) that is
  # (0, 3, -2).
  matrix = relative_frame.adjoint((1, 2, 3, *_UP))
  np.testing.assert_allclose(matrix @ (1, 0, 0, 0, 0, 0), (1, 0, 0, 0, 3, -2))
  np.testing.assert_allclose(matrix @ (0, 0, 0, 4, 5, 6), (0, 0, 0, 4, 5, 6))


def test_the_adjoint_of_a_frame_that_is_only_turned():
  matrix = relative_frame.adjoint((0, 0, 0, *_LEFT))
  np.testing.assert_allclose(
    matrix @ (1, 2, 3, 4, 5, 6), (-2, 1, 3, -5, 4, 6), atol=1e-12
  )


def test_the_adjoint_of_a_frame_that_is_turned_and_moved():
  # Turned, v = (0, 1, 0); p x v = (1, 2, 3) x (0, 1, 0) = (-3, 0, 1).
  matrix = relative_frame.adjoint((1, 2, 3, *_LEFT))
  np.testing.assert_allclose(
    matrix @ (1, 0, 0, 0, 0, 0), (0, 1, 0, -3, 0, 1), atol=1e-12
  )


def test_without_the_lever_a_translation_stays_one():
  matrix = relative_frame.adjoint((1, 2, 3, *_LEFT), lever=False)
  np.testing.assert_allclose(
    matrix @ (1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), atol=1e-12
  )


def test_an_action_is_along_the_tools_axes_of_this_moment():
  environment, inner = _wrap(
    (0.5, 0, 0.1, *_DOWN),
    (0.5, 0, 0.1, *_LEFT),
    (0.5, 0, 0.1, *_LEFT),
    lever=False,
  )
  environment.reset()
  action = np.array((1, 0, 0.5, 0, 0.2, 0, -0.7), np.float32)
  environment.step(action)
  environment.step(action)
  np.testing.assert_allclose(
    inner.actions[0], (1, 0, -0.5, 0, -0.2, 0, -0.7), atol=1e-6
  )
  np.testing.assert_allclose(
    inner.actions[1], (0, 1, 0.5, -0.2, 0, 0, -0.7), atol=1e-6
  )
  assert inner.actions[0].dtype == np.float32


def test_the_action_that_was_given_is_not_changed():
  environment, _ = _wrap(*[(0.5, 0, 0.1, *_DOWN)] * 2)
  environment.reset()
  action = np.full(7, 0.5, np.float32)
  action.setflags(write=False)
  environment.step(action)
  np.testing.assert_array_equal(action, np.full(7, 0.5))


@pytest.mark.parametrize('lever', [True, False])
@pytest.mark.parametrize('size', [6, 7])
def test_an_action_in_the_base_frame_means_the_same(lever, size):
  environment, inner = _wrap(
    *[(0.5, 0.1, 0.2, 0.5, 0.5, -0.5, 0.5)] * 2, lever=lever, actions=size
  )
  environment.reset()
  asked = np.linspace(-0.6, 0.6, size).astype(np.float32)
  environment.step(environment.to_tool_frame(asked))
  np.testing.assert_allclose(inner.actions[0], asked, atol=1e-6)


def test_the_pose_is_seen_from_where_the_episode_began():
  environment, _ = _wrap(
    (0.5, 0.1, 0.3, *_DOWN), (0.52, 0.13, 0.26, *_DOWN), (0.5, 0.1, 0.3, *_LEFT)
  )
  np.testing.assert_allclose(
    environment.reset().observation['tcp_pose'], (0, 0, 0, *_UP), atol=1e-6
  )
  # The tool's y and z are the other way round.
  np.testing.assert_allclose(
    environment.step(np.zeros(7)).observation['tcp_pose'],
    (0.02, -0.03, 0.04, *_UP),
    atol=1e-6,
  )
  # Half a turn back about x, then a quarter about the z that it sees.
  pose = environment.step(np.zeros(7)).observation['tcp_pose']
  np.testing.assert_allclose(np.abs(pose[3:]), (_HALF, _HALF, 0, 0), atol=1e-6)


def test_each_episode_has_its_own_origin():
  environment, inner = _wrap((0.5, 0.1, 0.3, *_DOWN))
  environment.reset()
  inner._poses[0] = np.array((0.55, 0.1, 0.3, *_LEFT), np.float32)
  np.testing.assert_allclose(
    environment.reset().observation['tcp_pose'], (0, 0, 0, *_UP), atol=1e-6
  )


def test_the_velocity_is_the_inverse_adjoints():
  environment, _ = _wrap((0.5, 0, 0.4, *_LEFT), velocity=(0, 1, 0, 0, 0, 0))
  # Seen from a frame that is a quarter to the left, y is x. The lever takes off
  # p x v = (0.5, 0, 0.4) x (0, 1, 0) = (-0.4, 0, 0.5), which is seen as
  # (0, 0.4, 0.5).
  np.testing.assert_allclose(
    environment.reset().observation['tcp_vel'],
    (1, 0, 0, 0, -0.4, -0.5),
    atol=1e-6,
  )


def test_the_rest_is_observed_as_it_is():
  environment, _ = _wrap((0.5, 0, 0.1, *_DOWN))
  np.testing.assert_array_equal(
    environment.reset().observation['tcp_force'], np.ones(3)
  )


def test_what_is_observed_saturates_at_its_bounds():
  # Turned by an eighth about z, the far corner of the box is along one axis.
  eighth = (0, 0, math.sin(math.pi / 8), math.cos(math.pi / 8))
  environment, _ = _wrap(
    (0.5, 0.0, 0.1, *eighth),
    (0.6, 0.2, 0.4, *eighth),
    velocity=(1, 1, 0, 0, 0, 0),
    lever=False,
  )
  spec = environment.observation_spec()
  for timestep in (environment.reset(), environment.step(np.zeros(7))):
    for name in ('tcp_pose', 'tcp_vel'):
      spec[name].validate(timestep.observation[name])
  assert timestep.observation['tcp_vel'][0] == 1.0  # not 1.41


def test_bounds_may_be_one_number_for_all():
  inner = _Environment((0.5, 0, 0.1, *_DOWN))
  leaves = inner.observation_spec()
  leaves['tcp_pose'] = specs.BoundedArray((7,), np.float32, -1.0, 1.0)
  inner.observation_spec = lambda: leaves
  spec = relative_frame.RelativeFrame(inner).observation_spec()['tcp_pose']
  np.testing.assert_array_equal(spec.maximum, [2] * 3 + [1] * 4)


def test_chunks_of_actions_are_refused():
  chunked = action_chunking.ActionChunking(_Environment(), 2)
  with pytest.raises(ValueError, match='takes 2 actions in a row'):
    relative_frame.RelativeFrame(chunked)


def test_the_bounds_are_those_of_the_widest_axis():
  spec = _wrap((0.5, 0, 0.1, *_DOWN))[0].observation_spec()
  # The box is 0.1 by 0.2 by 0.3 m.
  np.testing.assert_allclose(spec['tcp_pose'].maximum, [0.3] * 3 + [1] * 4)
  # Its farthest corner is at (0.6, 0.2, 0.4).
  far = 1 + math.sqrt(0.36 + 0.04 + 0.16)
  np.testing.assert_allclose(
    spec['tcp_vel'].minimum, [-1] * 3 + [-far] * 3, rtol=1e-6
  )
  spec = _wrap((0.5, 0, 0.1, *_DOWN), lever=False)[0].observation_spec()
  np.testing.assert_allclose(spec['tcp_vel'].maximum, np.ones(6))


def test_actions_without_a_rotation_are_refused():
  with pytest.raises(ValueError, match='translation and a rotation'):
    _wrap((0.5, 0, 0.1, *_DOWN), actions=4)


class _Saturating(fakes.FakeEnvironment):
  """As the arm does, for a turned action can be longer along an axis."""

  def step(self, action):
    return super().step(np.clip(action, -1, 1))


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return relative_frame.RelativeFrame(_Saturating(fakes.make_arm_spec()))
