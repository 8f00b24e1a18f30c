"""What an environment takes and gives, as data to compare and to store."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import dm_env
from dm_env import specs
import numpy as np
import tree

from serl import types

Array = specs.Array
BoundedArray = specs.BoundedArray


class EnvironmentSpec(NamedTuple):
  """The four specs of a `dm_env.Environment`."""

  observations: types.NestedSpec
  actions: types.NestedSpec
  rewards: specs.Array
  discounts: specs.BoundedArray


def make_environment_spec(environment: dm_env.Environment) -> EnvironmentSpec:
  """Returns the specs of `environment`."""
  return EnvironmentSpec(
    observations=environment.observation_spec(),
    actions=environment.action_spec(),
    rewards=environment.reward_spec(),
    discounts=environment.discount_spec(),
  )


def steps_per_second(environment: dm_env.Environment) -> float | None:
  """Returns the rate of `environment`'s clock, Hz; None if it has none.

  It is that of the environment's own time, which a simulation need not keep.
  """
  timestep = getattr(environment, 'control_timestep', None)
  if callable(timestep):  # as dm_control has it
    timestep = timestep()
  return None if timestep is None else float(1 / timestep)


def zeros_like(spec: types.NestedSpec) -> types.NestedArray:
  """Returns zeros of the shapes and dtypes of `spec`."""
  return tree.map_structure(lambda s: np.zeros(s.shape, s.dtype), spec)


def bounded(
  bounds: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, specs.BoundedArray]:
  """Returns specs of float32 by name.

  Args:
    bounds: of each its minimum and its maximum, of its shape.
  """
  return {
    name: specs.BoundedArray(
      minimum.shape,
      np.float32,
      np.float32(minimum),
      np.float32(maximum),
      name=name,
    )
    for name, (minimum, maximum) in bounds.items()
  }


def is_image(leaf: specs.Array) -> bool:
  """Returns whether `leaf` is of bytes [H, W, C] or [stack, H, W, C]."""
  return leaf.dtype == np.uint8 and len(leaf.shape) in (3, 4)


def check_images(spec: types.NestedSpec) -> None:
  """Refuses arrays in the shape of images that are none.

  They would pass for numbers, as images of floats do.

  Raises:
    ValueError: an array of three or more axes is not of bytes.
  """
  for path, leaf in flatten(spec).items():
    if len(leaf.shape) >= 3 and not is_image(leaf):
      raise ValueError(
        f'The observation {path or "value"} is {np.dtype(leaf.dtype).name} '
        f'{list(leaf.shape)}, expected uint8 [H, W, C] or [stack, H, W, C] of '
        'what has the shape of an image: observe the bytes of the camera, or '
        'flatten what is no image.'
      )


def flatten(nested: Any, prefix: str = '') -> dict[str, Any]:
  """Returns the leaves of a tree of mappings and tuples by 'a/b' paths.

  Mappings are walked in the order of their sorted keys, so that equal trees
  flatten equally. A bare leaf gets `prefix` itself as its path.
  """
  if isinstance(nested, Mapping):
    items = [(str(key), nested[key]) for key in sorted(nested)]
  elif hasattr(nested, '_fields'):
    items = list(zip(nested._fields, nested))
  elif isinstance(nested, (list, tuple)):
    items = [(str(i), value) for i, value in enumerate(nested)]
  else:
    return {prefix: nested}
  flat = {}
  for key, value in items:
    flat.update(flatten(value, f'{prefix}/{key}' if prefix else key))
  return flat


def unflatten(flat: Mapping[str, Any]) -> Any:
  """Returns the tree of mappings whose `flatten` gives `flat`."""
  nested: dict[str, Any] = {}
  for path, leaf in flat.items():
    if not path:
      return leaf
    *parents, name = path.split('/')
    node = nested
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return nested


def to_dict(spec: types.NestedSpec) -> dict[str, dict[str, Any]]:
  """Returns `spec` as plain JSON data: one entry for each leaf's path."""
  described = {}
  for path, leaf in flatten(spec).items():
    entry: dict[str, Any] = {
      'shape': list(leaf.shape),
      'dtype': np.dtype(leaf.dtype).name,
    }
    if isinstance(leaf, specs.BoundedArray):
      entry['minimum'] = np.asarray(leaf.minimum, float).tolist()
      entry['maximum'] = np.asarray(leaf.maximum, float).tolist()
    described[path] = entry
  return described


def from_dict(described: Mapping[str, Mapping[str, Any]]) -> types.NestedSpec:
  """Returns the spec that `to_dict` described, its tuples as mappings."""
  leaves = {}
  for path, entry in described.items():
    bounds = [entry[key] for key in ('minimum', 'maximum') if key in entry]
    kind = specs.BoundedArray if bounds else specs.Array
    shape, dtype = tuple(entry['shape']), np.dtype(entry['dtype'])
    leaves[path] = kind(shape, dtype, *bounds, name=path.rpartition('/')[2])
  return unflatten(leaves)


def differences(
  given: Mapping[str, Any], expected: Mapping[str, Any]
) -> list[str]:
  """Returns one line for each entry in which two `to_dict` results differ."""
  lines = []
  for path in sorted(set(given) | set(expected)):
    name = path or 'value'
    if path not in given:
      lines.append(f'{name}: missing, expected {expected[path]}')
    elif path not in expected:
      lines.append(f'{name}: {given[path]}, not expected')
    elif given[path] != expected[path]:
      lines.append(f'{name}: {given[path]}, expected {expected[path]}')
  return lines
