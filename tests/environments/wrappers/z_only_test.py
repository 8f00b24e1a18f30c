"""Of the pose, the height is left."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.sim import pick_cube
from serl.environments.wrappers import z_only
from serl.testing import fakes


class ZOnlyTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return z_only.ZOnly(pick_cube.PickCube(seed=0), 'tcp_pos')


def _environment(leaf):
  observations = {
    'tcp_pose': leaf,
    'gripper_pose': specs.Array((1,), np.float32),
  }
  return fakes.FakeEnvironment(
    fakes.make_state_spec()._replace(observations=observations)
  )


def test_only_the_height_is_observed():
  low = np.float32([0, 1, 2, 3, 4, 5])
  leaf = specs.BoundedArray((6,), np.float32, low, low + 10, name='tcp_pose')
  environment = z_only.ZOnly(_environment(leaf))
  spec = environment.observation_spec()['tcp_pose']
  assert spec == specs.BoundedArray((1,), np.float32, [2], [12], 'tcp_pose')
  given = {'tcp_pose': np.float32([7, 6, 5, 4, 3, 2]), 'gripper_pose': 'as is'}
  observed = environment.observe(given)
  assert observed['tcp_pose'].tolist() == [5]
  assert observed['gripper_pose'] == 'as is'


def test_a_height_without_bounds_has_none():
  environment = z_only.ZOnly(_environment(specs.Array((7,), np.float32)))
  spec = environment.observation_spec()['tcp_pose']
  assert spec == specs.Array((1,), np.float32)


@pytest.mark.parametrize(
  ('name', 'leaf'),
  [
    ('pose', specs.Array((7,), np.float32)),
    ('tcp_pose', specs.Array((2,), np.float32)),
    ('tcp_pose', specs.Array((4, 4), np.float32)),
  ],
)
def test_refuses_what_has_no_height(name, leaf):
  with pytest.raises(ValueError, match=rf"'{name}' is .*expected an array"):
    z_only.ZOnly(_environment(leaf), name)
