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
