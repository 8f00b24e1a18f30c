"""A mount moves only where it is asked to; the scenes' tests see it move."""

import dataclasses

import numpy as np

from serl.environments.sim import insertion


def test_a_mount_that_does_not_move_needs_no_restart():
  scene = insertion.Insertion()
  before = scene.task, scene.twin.now()
  scene.begin_episode(np.random.default_rng(0))
  assert (scene.task, scene.twin.now()) == before


def test_a_range_of_one_kind_moves_it_so_alone():
  scene = insertion.Insertion(dataclasses.replace(insertion.PEG, board_yaw=0.3))
  first = scene.task
  scene.begin_episode(np.random.default_rng(0))
  np.testing.assert_array_equal(scene.task.target[:5], first.target[:5])
  assert scene.task.target[5] != first.target[5]
