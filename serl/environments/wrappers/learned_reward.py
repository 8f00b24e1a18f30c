"""A classifier's word for reward and end of an episode."""

from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from serl import types
from serl.environments.wrappers import judged_success


class LearnedReward(judged_success.JudgedSuccess):
  """Ends the episode, with reward 1, where a classifier sees success.

  `episode_metrics` tells 'learned_success' and the highest
  'success_probability'. 'success', there and in `step_extras`, is the
  environment's own, to score the classifier by, or where it has none the
  classifier's.

  Cameras for the reward alone can be taken out of the policy's sight by a
  wrapper around this one.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    classify: Callable[[types.NestedArray], float],
    threshold: float,
  ):
    """Wraps `environment`.

    Args:
      environment: observes what `classify` looks at.
      classify: observation -> probability of success.
      threshold: above it is success, in [0, 1).

    Raises:
      ValueError: the threshold is another.
    """
    super().__init__(environment)
    if not 0 <= threshold < 1:
      raise ValueError(
        f'threshold is {threshold!r}, expected a probability in [0, 1): above '
        'it is success. A classifier that has 1 told some failures from no '
        'success: train it with more like them.'
      )
    self._classify = classify
    self._threshold = threshold
    self._highest = 0.0

  def begin(self) -> None:
    self._highest = 0.0

  def judge(self, observation: types.NestedArray) -> bool:
    """Classifies what came of a step.

    Raises:
      ValueError: the classifier gave no probability.
    """
    probability = self._classify(observation)
    if not 0 <= probability <= 1:
      raise ValueError(
        f'The classifier gave {probability!r} as the probability of success, '
        'expected a number in [0, 1].'
      )
    self._highest = max(self._highest, float(probability))
    return bool(probability > self._threshold)

  def episode_metrics(self) -> dict[str, float]:
    """Returns the environment's metrics and what the classifier has said."""
    return {
      'success': float(self._success),
      **super().episode_metrics(),
      'learned_success': float(self._success),
      'success_probability': self._highest,
    }

  def step_extras(self) -> dict[str, Any]:
    """Returns the environment's extras, and 'success' if it tells none."""
    return {'success': np.uint8(self._success), **super().step_extras()}
