"""Tests for fakes."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest
import tree

from serl import core
from serl import specs
from serl.replay import adders
from serl.testing import fakes


class StateTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return fakes.FakeEnvironment(fakes.make_state_spec())


class ImageTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return fakes.FakeEnvironment(fakes.make_image_spec(), terminate=True)


@pytest.mark.parametrize(('terminate', 'discount'), [(True, 0), (False, 1)])
def test_episodes_have_their_length_and_end(terminate, discount):
  environment = fakes.FakeEnvironment(
    fakes.make_state_spec(), episode_length=3, terminate=terminate
  )
  environment.reset()
  steps = [environment.step(np.zeros(2, np.float32)) for _ in range(3)]
  assert [s.last() for s in steps] == [False, False, True]
  assert steps[-1].discount == discount


def test_refuses_actions_outside_of_the_spec():
  environment = fakes.FakeEnvironment(fakes.make_state_spec())
  environment.reset()
  for action in (np.zeros(3, np.float32), np.full(2, 2.0, np.float32)):
    with pytest.raises(ValueError, match=r'shape|bounds'):
      environment.step(action)


def test_equal_seeds_give_equal_episodes():
  spec = fakes.make_image_spec()
  a, b, c = (fakes.make_episode(spec, seed=seed) for seed in (1, 1, 2))
  tree.map_structure(np.testing.assert_array_equal, a, b)
  assert (a.reward != c.reward).any()
  adders.check(a, spec)


def test_the_specs_are_those_of_the_environment():
  spec = fakes.make_image_spec()
  environment = fakes.FakeEnvironment(spec)
  assert specs.make_environment_spec(environment) == spec


def test_tells_success_only_where_asked_to():
  spec = fakes.make_state_spec()
  assert fakes.FakeEnvironment(spec).episode_metrics() == {}
  environment = fakes.FakeEnvironment(spec, episode_length=1, success=1.0)
  environment.reset()
  assert environment.episode_metrics() == {'success': 0.0}
  environment.step(np.zeros(2, np.float32))
  assert environment.episode_metrics() == {'success': 1.0}


def test_the_actor_is_one_and_acts_within_the_spec():
  spec = fakes.make_state_spec()
  actor = fakes.FakeActor(spec)
  assert isinstance(actor, core.Actor)
  for _ in range(20):
    spec.actions.validate(actor.select_action(None))
