"""Tasks are made by name."""

import numpy as np
import pytest

from serl.environments.sim import tasks


def test_makes_the_task_with_its_seed():
  starts = [
    tasks.make('pick_cube', seed).reset().observation['block_pos']
    for seed in (3, 3, 4)
  ]
  np.testing.assert_array_equal(starts[0], starts[1])
  assert not np.array_equal(starts[0], starts[2])


def test_an_unknown_task_lists_the_known():
  with pytest.raises(ValueError, match=r"'pick_cub'; expected one of pick_cub"):
    tasks.make('pick_cub')


def test_every_task_is_made():
  for name in tasks.TASKS:
    environment = tasks.make(name, seed=1)
    assert environment.action_spec().shape == (4,)
  assert 'front' in tasks.make('pick_cube_vision').observation_spec()


def test_images_have_the_size_that_is_asked_for():
  environment = tasks.make('pick_cube_vision', image_size=32)
  assert environment.observation_spec()['wrist'].shape == (32, 32, 3)
  with pytest.raises(ValueError, match=r"'pick_cube' shows no images.*_vision"):
    tasks.make('pick_cube', image_size=32)
