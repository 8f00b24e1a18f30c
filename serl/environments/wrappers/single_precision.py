"""Floats of 32 bits, as networks compute with."""

from collections.abc import Mapping

import dm_env
from dm_env import specs
import numpy as np
import tree

from serl import types
from serl.environments.wrappers import base


class SinglePrecision(base.ObservationWrapper):
  """Takes, gives and specifies float32 where the environment has other floats.

  Actions reach the environment in its own dtype, within its own bounds:
  rounding does not take them out of these. Integers stay as they are.
  """

  def __init__(self, environment: dm_env.Environment):
    super().__init__(environment)
    self._action_spec = environment.action_spec()

  def observation_spec(self) -> types.NestedSpec:
    return _map(_single_spec, self._environment.observation_spec())

  def action_spec(self) -> types.NestedSpec:
    return _map(_single_spec, self._action_spec)

  def reward_spec(self) -> specs.Array:
    return _single_spec(self._environment.reward_spec())

  def discount_spec(self) -> specs.Array:
    return _single_spec(self._environment.discount_spec())

  def step(self, action: types.NestedArray) -> dm_env.TimeStep:
    own = tree.map_structure(_to_own, self._action_spec, action)
    timestep = super().step(own)
    if timestep.first():
      return timestep
    return timestep._replace(
      reward=_single(timestep.reward), discount=_single(timestep.discount)
    )

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    return _map(_single, observation)


def _map(function, nested):
  """Returns the tree of the leaves' values, with plain dictionaries."""
  if isinstance(nested, Mapping):
    return {key: _map(function, value) for key, value in nested.items()}
  return tree.map_structure(function, nested)


def _is_other_float(dtype: np.dtype) -> bool:
  return dtype.kind == 'f' and dtype != np.float32


def _single(value):
  """Returns a number or an array in float32 if it is of other floats."""
  if not _is_other_float(np.asarray(value).dtype):
    return value
  with np.errstate(over='ignore'):  # beyond float32 is infinity
    return np.asarray(value, np.float32)[()]


def _single_spec(spec: specs.Array) -> specs.Array:
  if not _is_other_float(spec.dtype):
    return spec
  if not isinstance(spec, specs.BoundedArray):
    return spec.replace(dtype=np.float32)
  return spec.replace(
    dtype=np.float32,
    minimum=_single(spec.minimum),
    maximum=_single(spec.maximum),
  )


def _to_own(spec: specs.Array, action: np.ndarray) -> np.ndarray:
  action = np.asarray(action)
  if not _is_other_float(spec.dtype):
    return action
  own = action.astype(spec.dtype)
  if isinstance(spec, specs.BoundedArray):
    for bound in (spec.minimum, spec.maximum):
      own = np.where(action == _single(bound), bound, own)
  return own
