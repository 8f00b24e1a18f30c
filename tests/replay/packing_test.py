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


def test_small_numbers_stand_in_one_column_and_images_in_another():
  spec = fakes.make_image_spec()
  observations = {**spec.observations, 'other': specs.Array((4, 4), np.uint8)}
  columns = packing.Packing(spec._replace(observations=observations)).columns
  assert set(columns) == {packing.ROW, packing.BYTES}
  # tcp_pos 3, action 2, reward, discount.
  assert columns[packing.ROW].shape == (7,)
  assert columns[packing.BYTES].shape == (8 * 8 * 3 + 4 * 4,)


def test_other_leaves_have_columns_of_their_own():
  spec = fakes.make_state_spec()
  observations = {
    'depth': specs.Array((80, 80), np.float32),
    'count': specs.Array((2,), np.int64),
  }
  spec = spec._replace(observations=observations)
  packer = packing.Packing(spec)
  assert packer.columns['observation/depth'].shape == (80 * 80,)
  assert packer.columns['observation/count'].dtype == np.int64
  episode = fakes.make_episode(spec, length=3)
  pairs = {n: c[None, :2] for n, c in packer.pack(episode).items()}
  found = packer.unpack(pairs).next_observation
  for name, values in episode.observation.items():
    np.testing.assert_array_equal(found[name][0], values[1])


def test_unpacking_images_copies_none():
  packer = packing.Packing(fakes.make_image_spec())
  columns = {
    name: np.zeros((5, 2, *column.shape), column.dtype)
    for name, column in packer.columns.items()
  }
  image = packer.unpack(columns).next_observation['image']
  assert np.shares_memory(image, columns[packing.BYTES])


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


@pytest.mark.parametrize('dtype', [np.float64, np.float16])
def test_other_floats_are_stored_in_float32(dtype):
  spec = fakes.make_state_spec()._replace(
    observations={
      'depth': specs.Array((80, 80), dtype),
      'force': specs.BoundedArray((3,), dtype, -1, 1),
    },
    actions=specs.BoundedArray((2,), dtype, -1, 1),
  )
  packer = packing.Packing(spec)
  assert {c.dtype for c in packer.columns.values()} == {np.dtype(np.float32)}
  episode = fakes.make_episode(spec, length=3)
  pairs = {n: c[None, :2] for n, c in packer.pack(episode).items()}
  transition = packer.unpack(pairs)
  np.testing.assert_array_equal(
    transition.action[0], episode.action[0].astype(np.float32)
  )
  np.testing.assert_array_equal(
    transition.next_observation['force'][0],
    episode.observation['force'][1].astype(np.float32),
  )


def test_actions_that_are_no_real_numbers_are_refused():
  actions = specs.BoundedArray((2,), np.int32, 0, 3)
  with pytest.raises(ValueError, match='int32, expected real numbers'):
    packing.Packing(fakes.make_state_spec()._replace(actions=actions))
