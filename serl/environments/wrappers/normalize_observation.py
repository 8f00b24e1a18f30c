"""Observations in [-1, 1], by the bounds of their specs."""

import dm_env
from dm_env import specs
import numpy as np
import tree

from serl import types
from serl.environments.wrappers import base


class NormalizeObservation(base.ObservationWrapper):
  """Maps arrays of real numbers from their finite bounds to [-1, 1], float32.

  Arrays without such bounds, images and other integers stay as they are.
  """

  def __init__(self, environment: dm_env.Environment):
    """Wraps `environment`.

    Raises:
      ValueError: the bounds of an array leave no room between them.
    """
    super().__init__(environment)
    self._inner = environment.observation_spec()
    self._spec = tree.map_structure(_scaled_spec, self._inner)

  def observation_spec(self) -> types.NestedSpec:
    return self._spec

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    return tree.map_structure(_scale, self._inner, observation)


def _is_scaled(spec: specs.Array) -> bool:
  return (
    isinstance(spec, specs.BoundedArray)
    and spec.dtype.kind == 'f'
    # dm_env gives the range of the type for "unbounded".
    and bool((np.abs(spec.minimum) < 1e30).all())
    and bool((np.abs(spec.maximum) < 1e30).all())
  )


def _scaled_spec(spec: specs.Array) -> specs.Array:
  if not _is_scaled(spec):
    return spec
  if not (spec.maximum > spec.minimum).all():
    raise ValueError(
      f'The observation {spec.name!r} has the bounds {spec.minimum} and '
      f'{spec.maximum}; expected a range to scale by.'
    )
  return specs.BoundedArray(spec.shape, np.float32, -1.0, 1.0, name=spec.name)


def _scale(spec: specs.Array, array: np.ndarray) -> np.ndarray:
  if not _is_scaled(spec):
    return array
  low = np.asarray(spec.minimum, np.float64)
  # In this order the bounds become -1 and 1 exactly.
  share = (array - low) / (spec.maximum - low)
  return np.asarray(2 * share - 1, np.float32)
