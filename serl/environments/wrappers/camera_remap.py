"""Which cameras are observed, and by which names."""

from collections.abc import Mapping

import dm_env

from serl import specs
from serl import types
from serl.environments.wrappers import base


class CameraRemap(base.ObservationWrapper):
  """Observes the chosen cameras under new names.

  Cameras that are not chosen are left out, what is no image stays. So one
  robot's policy finds its images at another, and a policy can be trained with
  fewer cameras than there are.
  """

  def __init__(
    self, environment: dm_env.Environment, cameras: Mapping[str, str]
  ):
    """Wraps `environment`.

    Args:
      environment: observes a mapping of named arrays.
      cameras: the environment's names by the new ones.

    Raises:
      ValueError: there is no such camera, or the new name is another array's.
    """
    super().__init__(environment)
    leaves = base.named_specs(environment)
    images = {n: leaf for n, leaf in leaves.items() if specs.is_image(leaf)}
    others = {n: leaf for n, leaf in leaves.items() if n not in images}
    for new, old in cameras.items():
      if old not in images:
        raise ValueError(
          f'There is no camera {old!r}; the environment has {sorted(images)}.'
        )
      if new in others:
        raise ValueError(
          f'The camera {old!r} cannot be called {new!r}: this is an array that '
          'is no image.'
        )
    # The environment's names by the new ones.
    self._names = {**{name: name for name in others}, **cameras}
    self._spec = {new: leaves[old] for new, old in self._names.items()}

  def observation_spec(self) -> types.NestedSpec:
    return dict(self._spec)

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    return {new: observation[old] for new, old in self._names.items()}
