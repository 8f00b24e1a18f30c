"""Tasks are made by name."""

import subprocess
import sys

import numpy as np
import pytest

from serl import specs
from serl.environments.sim import tasks


def test_makes_the_task_with_its_seed():
  starts = [
    tasks.make('pick_cube', seed).reset().observation['block_pos']
    for seed in (3, 3, 4)
  ]
  np.testing.assert_array_equal(starts[0], starts[1])
  assert not np.array_equal(starts[0], starts[2])


def test_an_unknown_task_lists_the_known():
  with pytest.raises(
    ValueError, match=r"'pick_cub'; expected one of .*peg_insert"
  ):
    tasks.make('pick_cub')


def test_every_task_is_made():
  for name in tasks.TASKS:
    environment = tasks.make(name, seed=1)
    kind = name.split('_')[0]
    actions = {'pick': 4, 'bins': 7}.get(kind, 6)
    assert environment.action_spec().shape == (actions,)
    images = [
      leaf
      for leaf in environment.observation_spec().values()
      if specs.is_image(leaf)
    ]
    cameras = 1 if kind == 'bins' else 2
    assert len(images) == (cameras if name in tasks.VISION else 0)
    environment.close()
  assert 'front' in tasks.make('pick_cube_vision').observation_spec()


def test_a_policy_does_not_see_what_is_for_the_reward():
  seen = []
  for for_policy in (True, False):
    environment = tasks.make('bins_forward_vision', for_policy=for_policy)
    seen.append(set(environment.observation_spec()))
    environment.close()
  assert seen[1] - seen[0] == {'front'} and 'wrist_1' in seen[0]


def test_images_have_the_size_that_is_asked_for():
  for name, camera in zip(tasks.VISION, ('wrist', 'wrist_1')):
    environment = tasks.make(name, image_size=32)
    assert environment.observation_spec()[camera].shape == (32, 32, 3)
    environment.close()
  with pytest.raises(ValueError, match=r"'pick_cube' shows no images.*_vision"):
    tasks.make('pick_cube', image_size=32)


def test_the_names_alone_load_no_twin():
  code = (
    'import sys\n'
    'import serl.environments.sim.tasks, serl.teleop.scripted\n'
    'heavy = ("flask", "scipy", "serl.environments.sim.twin")\n'
    'print([name for name in heavy if name in sys.modules])\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == '[]'
