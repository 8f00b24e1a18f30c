"""A classifier's word for reward and end of an episode."""

from collections.abc import Callable

import dm_env
from dm_env import specs
import numpy as np

from serl import types
from serl.environments.wrappers import base


class LearnedReward(base.EnvironmentWrapper):
  """Rewards with 1, and ends the episode, where a classifier sees success.

  Elsewhere the reward is 0. Such an end is a termination: LAST with discount 0.
  The environment's own ends stay as they are, its own reward is dropped.
  `episode_metrics` tells the environment's own success beside 'learned_success'
  and the highest 'success_probability', to score the classifier by.

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
        'it is success.'
      )
    self._classify = classify
    self._threshold = threshold
    self._no_discount = environment.discount_spec().dtype.type(0.0)
    self._begin()

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode; its first observation is not classified."""
    self._begin()
    return self._environment.reset()

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps and classifies what came of it.

    Raises:
      ValueError: the classifier gave no probability.
    """
    if self._over:
      return self.reset()
    timestep = self._environment.step(action)
    if timestep.first():
      self._begin()
      return timestep
    probability = self._classify(timestep.observation)
    if not 0 <= probability <= 1:
      raise ValueError(
        f'The classifier gave {probability!r} as the probability of success, '
        'expected a number in [0, 1].'
      )
    self._highest = max(self._highest, float(probability))
    self._over = bool(probability > self._threshold)
    if self._over:
      return dm_env.TimeStep(
        dm_env.StepType.LAST,
        np.float32(1.0),
        self._no_discount,
        timestep.observation,
      )
    return timestep._replace(reward=np.float32(0.0))

  def reward_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='reward')

  def episode_metrics(self) -> dict[str, float]:
    """Returns the environment's metrics and what the classifier has said."""
    tell = getattr(self._environment, 'episode_metrics', dict)
    return {
      **tell(),
      'learned_success': float(self._over),
      'success_probability': self._highest,
    }

  def _begin(self) -> None:
    self._over = False
    self._highest = 0.0
