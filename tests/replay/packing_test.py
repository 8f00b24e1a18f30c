import numpy as np
import pytest

from serl import specs
from serl.replay import packing
from serl.testing import fakes


@pytest.mark.parametrize('make', [fakes.make_state_spec, fakes.make_image_spec])
def test_pairs_of_rows_are_the_transitions(make):
  spec = make()
  packer = packing.Packing(spec)
  episode = fakes.make_episode(spec, length=7)
  columns = packer.pack(episode)
  pairs = {
    name: np.stack([column[:-1], column[1:]], axis=1)
    for name, column in columns.items()
  }
  transition = packer.unpack(pairs)
  given = specs.flatten(episode.observation)
  for path, leaf in specs.flatten(transition.observation).items():
    np.testing.assert_array_equal(leaf, given[path][:-1])
  for path, leaf in specs.flatten(transition.next_observation).items():
    np.testing.assert_array_equal(leaf, given[path][1:])
    assert leaf.dtype == given[path].dtype
  np.testing.assert_array_equal(transition.action, episode.action)
  np.testing.assert_array_equal(transition.reward, episode.reward)
  np.testing.assert_array_equal(transition.discount, episode.discount)


def test_leading_axes_stay_as_they_are():
  spec = fakes.make_image_spec()
  packer = packing.Packing(spec)
  columns = {
    name: np.zeros((3, 4, 2, *column.shape), column.dtype)
    for name, column in packer.columns.items()
  }
  transition = packer.unpack(columns)
  assert transition.observation['image'].shape == (3, 4, 8, 8, 3)
  assert transition.next_observation['state']['tcp_pos'].shape == (3, 4, 3)
  assert transition.action.shape == (3, 4, 2)
  assert transition.reward.shape == (3, 4)


def test_only_images_have_columns_of_their_own():
  columns = packing.Packing(fakes.make_image_spec()).columns
  assert set(columns) == {packing.ROW, 'observation/image'}
  # tcp_pos 3, action 2, reward, discount.
  assert columns[packing.ROW].shape == (7,)


def test_bare_observation_array():
  spec = fakes.make_state_spec()
  spec = spec._replace(observations=spec.observations['tcp_pos'])
  packer = packing.Packing(spec)
  episode = fakes.make_episode(spec, length=3)
  row = packer.pack(episode)[packing.ROW]
  np.testing.assert_array_equal(row[:, :3], episode.observation)


def test_other_observations_are_refused_by_name():
  packer = packing.Packing(fakes.make_state_spec())
  with pytest.raises(ValueError, match='observation/image'):
    packer.pack(fakes.make_episode(fakes.make_image_spec()))


def test_actions_that_are_not_float32_are_refused():
  spec = fakes.make_state_spec()
  spec = spec._replace(actions=specs.Array((2,), np.int32))
  with pytest.raises(ValueError, match='int32'):
    packing.Packing(spec)
