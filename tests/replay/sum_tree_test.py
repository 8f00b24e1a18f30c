"""Draws by weight."""

import numpy as np
import pytest

from serl.replay import sum_tree


@pytest.mark.parametrize('places', [1, 2, 3, 100])
def test_each_place_has_its_part_of_the_unit_interval(places):
  rng = np.random.default_rng(places)
  weights = rng.uniform(size=places) * (rng.uniform(size=places) < 0.7)
  weights[-1] = 0.5
  tree = sum_tree.SumTree(places)
  tree.set(np.arange(places), weights)
  np.testing.assert_allclose(tree.total(), weights.sum())
  np.testing.assert_array_equal(tree.weights(np.arange(places)), weights)
  ends = np.cumsum(weights) / weights.sum()
  drawn = np.flatnonzero(weights)
  middles = ends[drawn] - weights[drawn] / weights.sum() / 2
  np.testing.assert_array_equal(tree.draw(middles), drawn)


def test_a_place_of_no_weight_is_never_drawn():
  tree = sum_tree.SumTree(6)
  tree.set(np.array([1, 4]), np.array([1e-9, 1e9]))
  edges = np.array([[0.0, 1e-18, 0.5], [1 - 1e-16, np.nextafter(1, 0), 1e-30]])
  assert set(tree.draw(edges).ravel()) <= {1, 4}


def test_of_a_place_that_stands_twice_the_last_weight_counts():
  tree = sum_tree.SumTree(3)
  tree.set(np.array([0, 1, 1]), np.array([1.0, 5.0, 2.0]))
  assert tree.total() == 3.0
  tree.set(np.array([1]), 0.0)
  assert tree.total() == 1.0
