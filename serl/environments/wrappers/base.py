"""The wrapper that changes nothing, and the one that changes what is observed.

Our own: dm-env-wrappers loads scipy's signal processing and imageio for it.
"""

from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np

from serl import core
from serl import specs
from serl import types


class EnvironmentWrapper(dm_env.Environment):
  """Passes everything on to the wrapped environment, other methods included."""

  def __init__(self, environment: dm_env.Environment):
    self._environment = environment

  def __getattr__(self, name: str) -> Any:
    # Asked for only while there is no `_environment` yet: when unpickling.
    if name.startswith('_'):
      raise AttributeError(f'{type(self).__name__} has no {name!r}.')
    return getattr(self._environment, name)

  def reset(self) -> dm_env.TimeStep:
    return self._environment.reset()

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._environment.step(action)

  def action_spec(self) -> Any:
    return self._environment.action_spec()

  def observation_spec(self) -> Any:
    return self._environment.observation_spec()

  def reward_spec(self) -> Any:
    return self._environment.reward_spec()

  def discount_spec(self) -> Any:
    return self._environment.discount_spec()

  def episode_metrics(self) -> dict[str, float]:
    """Returns what the environment tells of the episode; it need not."""
    if not isinstance(self._environment, core.HasEpisodeMetrics):
      return {}
    return dict(self._environment.episode_metrics())

  def close(self) -> None:
    self._environment.close()


class ObservationWrapper(EnvironmentWrapper):
  """Changes every observation alike: a subclass defines `observe`."""

  def reset(self) -> dm_env.TimeStep:
    return self._observed(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._observed(self._environment.step(action))

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns a new observation, made from the environment's."""
    raise NotImplementedError

  def _observed(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    return timestep._replace(observation=self.observe(timestep.observation))


def actions_per_step(environment: dm_env.Environment) -> int:
  """Returns how many actions in a row one action is made of."""
  if not isinstance(environment, core.HasActionsPerStep):
    return 1
  return environment.actions_per_step


def control_timestep(environment: dm_env.Environment) -> float:
  """Returns the time of one action, s, for the property of a wrapper.

  Raises:
    AttributeError: the environment has no clock.
  """
  timestep = specs.control_timestep(environment)
  if timestep is None:
    raise AttributeError('The environment has no control_timestep.')
  return timestep


def demand_single_actions(environment: dm_env.Environment) -> None:
  """Refuses an environment that takes several actions in a row as one.

  Raises:
    ValueError: there is an `ActionChunking` in it.
  """
  taken = actions_per_step(environment)
  if taken > 1:
    raise ValueError(
      f'The environment takes {taken} actions in a row, expected one: this '
      'wrapper goes around the environment before ActionChunking does.'
    )


def named_specs(environment: dm_env.Environment) -> dict[str, Any]:
  """Returns the observation spec as a new dictionary.

  Raises:
    ValueError: it has no names, or names within names.
  """
  spec = environment.observation_spec()
  if not isinstance(spec, Mapping):
    raise ValueError(
      f'The observation is {spec}; expected a mapping of named arrays, as '
      'this wrapper goes by their names.'
    )
  nested = [name for name, leaf in spec.items() if isinstance(leaf, Mapping)]
  if nested:
    raise ValueError(
      f'The observation has mappings within, {nested}; expected arrays by '
      'their names: flatten it first.'
    )
  return dict(spec)
