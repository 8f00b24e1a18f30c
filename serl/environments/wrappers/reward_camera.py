"""Cameras that only the reward goes by."""

from collections.abc import Sequence

import dm_env

from serl import specs
from serl import types
from serl.environments.wrappers import base


class RewardCamera(base.ObservationWrapper):
  """Takes cameras out of the policy's sight.

  What is wrapped still sees them: around a `LearnedReward`, the classifier
  judges by a camera that need not be there when the policy is used.
  """

  def __init__(
    self, environment: dm_env.Environment, cameras: Sequence[str] = ('front',)
  ):
    """Wraps `environment`.

    Args:
      environment: observes a mapping of named arrays.
      cameras: to leave out.

    Raises:
      ValueError: there is no such camera.
    """
    super().__init__(environment)
    leaves = base.named_specs(environment)
    images = [name for name, leaf in leaves.items() if specs.is_image(leaf)]
    for camera in cameras:
      if camera not in images:
        raise ValueError(
          f'There is no camera {camera!r}; the environment has '
          f'{sorted(images)}.'
        )
    self._spec = {n: leaf for n, leaf in leaves.items() if n not in cameras}

  def observation_spec(self) -> types.NestedSpec:
    return dict(self._spec)

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    return {name: observation[name] for name in self._spec}
