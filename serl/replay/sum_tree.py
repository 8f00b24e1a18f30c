"""Drawing by priority out of many, in the time of their logarithm."""

import numpy as np


class SumTree:
  """Weights of a fixed number of places, of which some are drawn.

  Schaul et al. 2016 (arXiv 1511.05952), appendix B.2.1.
  """

  def __init__(self, places: int):
    """Initialises the tree with weights of 0.

    Args:
      places: how many there are.
    """
    self._leaves = 1 << max(places - 1, 0).bit_length()
    # Node i has the children 2 i and 2 i + 1; the leaves come last.
    self._sums = np.zeros(2 * self._leaves)

  def total(self) -> float:
    """Returns the sum of all weights."""
    return float(self._sums[1])

  def set(self, places: np.ndarray, weights: np.ndarray | float) -> None:
    """Sets the weights of places; of one that stands twice, the last counts."""
    self._sums[places + self._leaves] = weights
    nodes = np.unique(places + self._leaves)
    while nodes[0] > 1:
      nodes = np.unique(nodes // 2)
      # Summed anew: differences would add up their rounding.
      self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

  def weights(self, places: np.ndarray) -> np.ndarray:
    """Returns the weights of places."""
    return self._sums[places + self._leaves]

  def draw(self, uniform: np.ndarray) -> np.ndarray:
    """Returns places, each with the probability of its part of the total.

    Args:
      uniform: numbers in [0, 1), of any shape.
    """
    rest = uniform * self._sums[1]
    nodes = np.ones(rest.shape, np.int64)
    while nodes.flat[0] < self._leaves:
      left = self._sums[2 * nodes]
      # Rounding may leave more than there is on the right: never an empty one.
      goes_right = (rest >= left) & (self._sums[2 * nodes + 1] > 0)
      rest = np.where(goes_right, rest - left, rest)
      nodes = 2 * nodes + goes_right
    return nodes - self._leaves
