"""What an environment takes and gives, as data to compare and to store."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import dm_env
from dm_env import specs
import numpy as np
import tree

from serl import core
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
  """Returns the specs of `environment`.

  Raises:
    ValueError: no agent could learn from them, see `check`.
  """
  spec = EnvironmentSpec(
    observations=environment.observation_spec(),
    actions=environment.action_spec(),
    rewards=environment.reward_spec(),
    discounts=environment.discount_spec(),
  )
  check(spec)
  return spec


def check(spec: EnvironmentSpec) -> None:
  """Refuses specs of what no agent can learn from.

  Raises:
    ValueError: naming each array that is not of numbers, each name that is not
      text or has a slash, and a reward or discount that is not one number.
  """
  leaves = {
    **flatten(spec.observations, 'observation'),
    **flatten(spec.actions, 'action'),
    'reward': spec.rewards,
    'discount': spec.discounts,
  }
  lines = [
    *_name_problems(spec.observations, 'observation'),
    *_name_problems(spec.actions, 'action'),
  ]
  if not flatten(spec.observations):
    lines.append('observation: none, expected an array or arrays by name')
  for path, leaf in leaves.items():
    if not isinstance(leaf, Array):
      kind = type(leaf).__name__
      lines.append(f'{path}: {kind}, expected a spec of dm_env.specs')
    elif np.dtype(leaf.dtype).kind not in 'fiub':
      kind = np.dtype(leaf.dtype).name
      lines.append(f'{path}: {kind}, expected numbers; leave it out')
    elif path in ('reward', 'discount') and leaf.shape:
      lines.append(f'{path}: {list(leaf.shape)}, expected one number')
  if lines:
    raise ValueError(
      'No agent can learn by the specs of the environment:\n  '
      + '\n  '.join(lines)
    )


def _name_problems(nested: Any, path: str) -> list[str]:
  """Returns a line for each name that no file of episodes could keep."""
  if not isinstance(nested, Mapping):
    return []
  lines = []
  for name, value in nested.items():
    if not isinstance(name, str) or not name or '/' in name:
      lines.append(f'{path}: the name {name!r}, expected text without slashes')
    lines.extend(_name_problems(value, f'{path}/{name}'))
  return lines


def control_timestep(environment: dm_env.Environment) -> float | None:
  """Returns the time of one action, s, by the environment's clock, or None.

  See `core.HasControlTimestep`; dm_control has a method of this name.
  """
  if not isinstance(environment, core.HasControlTimestep):
    return None
  timestep = environment.control_timestep
  return float(timestep() if callable(timestep) else timestep)


def steps_per_second(environment: dm_env.Environment) -> float | None:
  """Returns the rate of `environment`'s clock, Hz; None if it has none.

  It is that of the environment's own time, which a simulation need not keep.
  """
  timestep = control_timestep(environment)
  return None if timestep is None else 1 / timestep


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


def has_channels_first(leaf: Array) -> bool:
  """Returns whether `leaf` has the shape of images with their channels first.

  That is [..., C, H, W], whose channels are fewer than its rows and columns.
  """
  if len(leaf.shape) < 3:
    return False
  channels, rows, columns = leaf.shape[-3:]
  return channels < min(rows, columns) and columns > 4


def check_images(spec: types.NestedSpec) -> None:
  """Refuses arrays in the shape of images that are none.

  They would pass for numbers, as images of floats do, or for images of very
  many channels.

  Raises:
    ValueError: an array of three or more axes is not of bytes, or has its
      channels first.
  """
  for path, leaf in flatten(spec).items():
    if len(leaf.shape) < 3:
      continue
    problems = []
    if not is_image(leaf):
      problems.append(
        'it has the shape of an image: observe the bytes of the camera, or '
        'flatten what is no image'
      )
    if has_channels_first(leaf):
      problems.append(
        'its channels come first: put the wrapper ChannelsLast around the '
        'environment'
      )
    if problems:
      raise ValueError(
        f'The observation {path or "value"} is {np.dtype(leaf.dtype).name} '
        f'{list(leaf.shape)}, expected uint8 [H, W, C] or [stack, H, W, C]; '
        f'{"; ".join(problems)}.'
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
  """Returns the tree of mappings whose `flatten` gives `flat`.

  Raises:
    ValueError: a path is that of a leaf and of a mapping.
  """
  nested: dict[str, Any] = {}
  mappings = {''}
  for path in flat:
    parents = path.split('/')[:-1]
    mappings.update('/'.join(parents[: i + 1]) for i in range(len(parents)))
  for path, leaf in flat.items():
    if not path and len(flat) == 1:
      return leaf
    if path in mappings:
      raise ValueError(
        f'The path {path!r} is that of an array; expected none, as there are '
        f'others below it among {sorted(flat)}.'
      )
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
