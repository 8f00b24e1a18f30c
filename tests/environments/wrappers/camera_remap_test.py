"""Cameras are chosen and renamed, nothing else."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import camera_remap
from serl.testing import fakes


def _environment():
  image = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255)
  observations = {
    'front': image,
    'wrist': specs.BoundedArray((2, 2, 3), np.uint8, 0, 255),
    'tcp_pos': specs.Array((3,), np.float32),
  }
  return fakes.FakeEnvironment(
    fakes.make_state_spec()._replace(observations=observations)
  )


class CameraRemapTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return camera_remap.CameraRemap(_environment(), {'wrist_1': 'wrist'})


def test_chooses_and_renames():
  remap = camera_remap.CameraRemap(_environment(), {'wrist_1': 'wrist'})
  assert sorted(remap.observation_spec()) == ['tcp_pos', 'wrist_1']
  given = _environment().reset().observation
  observed = remap.observe(given)
  assert observed['wrist_1'] is given['wrist']
  assert observed['tcp_pos'] is given['tcp_pos']


def test_swaps():
  swap = {'front': 'wrist', 'wrist': 'front'}
  remap = camera_remap.CameraRemap(_environment(), swap)
  assert remap.observation_spec()['front'].shape == (2, 2, 3)
  assert remap.observation_spec()['wrist'].shape == (4, 4, 3)


@pytest.mark.parametrize(
  ('cameras', 'message'),
  [
    ({'a': 'side'}, r"no camera 'side'; .*\['front', 'wrist'\]"),
    ({'a': 'tcp_pos'}, "no camera 'tcp_pos'"),
    ({'tcp_pos': 'front'}, "'front' cannot be called 'tcp_pos'"),
  ],
)
def test_refuses_what_is_not_there_or_taken(cameras, message):
  with pytest.raises(ValueError, match=message):
    camera_remap.CameraRemap(_environment(), cameras)


def test_refuses_an_observation_without_names():
  spec = fakes.make_state_spec()._replace(
    observations=specs.Array((3,), np.float32)
  )
  with pytest.raises(ValueError, match='mapping of named arrays'):
    camera_remap.CameraRemap(fakes.FakeEnvironment(spec), {})
