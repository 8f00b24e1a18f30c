"""The plain wrapper is invisible."""

import copy
import pickle

from absl.testing import absltest
from dm_env import test_utils
import pytest

from serl.environments.sim import pick_cube
from serl.environments.wrappers import base


class EnvironmentWrapperTest(
  test_utils.EnvironmentTestMixin, absltest.TestCase
):
  def make_object_under_test(self):
    return base.EnvironmentWrapper(pick_cube.PickCube(seed=0))


class Fake:
  closed = False
  spec = 'spec'

  def episode_metrics(self):
    return {'success': 1.0}

  def close(self):
    self.closed = True


def test_passes_on_what_it_does_not_know():
  fake = Fake()
  wrapper = base.EnvironmentWrapper(base.EnvironmentWrapper(fake))
  assert wrapper.episode_metrics() == {'success': 1.0}
  assert wrapper.spec == 'spec'
  with pytest.raises(AttributeError, match='nothing'):
    wrapper.nothing  # noqa: B018
  assert not hasattr(wrapper, 'render')


def test_metrics_that_nobody_tells_are_none():
  wrapper = base.EnvironmentWrapper(object())
  assert wrapper.episode_metrics() == {}


def test_closes_the_inner_environment():
  fake = Fake()
  base.EnvironmentWrapper(fake).close()
  assert fake.closed


def test_copies_and_pickles():
  wrapper = base.EnvironmentWrapper(Fake())
  assert copy.copy(wrapper).spec == 'spec'
  assert pickle.loads(pickle.dumps(wrapper)).spec == 'spec'
