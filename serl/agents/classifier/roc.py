"""What a threshold on probabilities gets right and wrong."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats


class Curve(NamedTuple):
  """A receiver operating characteristic, from the highest threshold down."""

  threshold: np.ndarray  # [K] descending, inf first
  false_positive_rate: np.ndarray  # [K] with probability > threshold
  true_positive_rate: np.ndarray  # [K]

  @property
  def area(self) -> float:
    """The area under the curve: 1 separates the classes, 0.5 guesses."""
    widths = np.diff(self.false_positive_rate)
    heights = (self.true_positive_rate[1:] + self.true_positive_rate[:-1]) / 2
    return float(np.sum(widths * heights))


class Confusion(NamedTuple):
  """Examples by their class and by what was said of them."""

  true_positives: int
  false_positives: int
  true_negatives: int
  false_negatives: int


def curve(probability: np.ndarray, success: np.ndarray) -> Curve:
  """Returns the ROC curve.

  Args:
    probability: [N] of success.
    success: [N] bool, of both classes.
  """
  order = np.argsort(-probability, kind='stable')
  descending, labels = probability[order], success[order]
  # Equal probabilities fall on the same side of every threshold.
  ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
  true, false = np.cumsum(labels)[ends], np.cumsum(~labels)[ends]
  # Just above the next smaller one, all of those before are positive.
  below = np.append(descending[ends[:-1] + 1], -math.inf)
  return Curve(
    threshold=np.append(math.inf, below),
    false_positive_rate=np.append(0, false) / np.sum(~success),
    true_positive_rate=np.append(0, true) / np.sum(success),
  )


def propose_threshold(
  probability: np.ndarray, success: np.ndarray, false_positive_rate: float
) -> float:
  """Returns a threshold from 0.5 up with at most that rate of false positives.

  It lies in the middle of the gap above the highest failure that it turns
  down: other devices round otherwise. Lower ones than 0.5 are not proposed,
  even where no failure comes near: new failures may.

  Args:
    probability: [N] of success.
    success: [N] bool.
    false_positive_rate: of failures that may count as successes, in [0, 1).
  """
  probability = np.asarray(probability, np.float64)  # a middle below 1 stays so
  failures = np.sort(probability[~success])[::-1]
  allowed = math.floor(false_positive_rate * len(failures))
  above = probability[probability > failures[allowed]]
  return float(max(0.5, (failures[allowed] + np.min(above, initial=1)) / 2))


def confusion(
  probability: np.ndarray, success: np.ndarray, threshold: float
) -> Confusion:
  """Returns how many examples are on which side of `threshold`."""
  positive = probability > threshold
  return Confusion(
    int(np.sum(positive & success)),
    int(np.sum(positive & ~success)),
    int(np.sum(~positive & ~success)),
    int(np.sum(~positive & success)),
  )


def rate_bound(count: int, trials: int) -> float:
  """Returns the upper end of the 95 % Wilson interval of count / trials."""
  interval = stats.binomtest(count, trials).proportion_ci(method='wilson')
  return float(interval.high)
