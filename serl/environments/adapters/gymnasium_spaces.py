"""The specs of gymnasium's spaces.

Only the functions import gymnasium: where there is a space, it is installed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from serl import conformance
from serl import specs


def leaves(space: Any, path: str = '') -> Iterator[tuple[str, Any]]:
  """Yields the spaces of an observation that are not Dict, by their paths."""
  from gymnasium import spaces

  if not isinstance(space, spaces.Dict):
    yield path, space
    return
  for name, inner in space.spaces.items():
    yield from leaves(inner, f'{path}/{name}' if path else str(name))


def is_within(path: str, group: str) -> bool:
  """Returns whether a path is `group` or of something in it."""
  return path == group or path.startswith(f'{group}/')


def observation_spec(path: str, space: Any) -> specs.Array:
  """Returns the spec of an observation: bytes of images, else float32.

  Raises:
    ValueError: the space is not a Box.
  """
  from gymnasium import spaces

  if not isinstance(space, spaces.Box):
    kind = type(space).__name__
    raise ValueError(
      f'The observation {path or "value"} is of the space {kind}, {space}; '
      'expected Box, or a Dict of Box. Leave it out by leave_out, or turn it '
      'into a Box by gymnasium.wrappers.TransformObservation.'
    )
  shape, name = space.shape, path.rpartition('/')[2] or None
  if space.dtype == np.uint8 and len(shape) >= 3:
    return specs.BoundedArray(shape, np.uint8, space.low, space.high, name)
  low, high = space.low.astype(np.float64), space.high.astype(np.float64)
  low = np.where(low > -conformance.LARGEST, low, -np.inf).astype(np.float32)
  high = np.where(high < conformance.LARGEST, high, np.inf).astype(np.float32)
  if np.isinf(low).all() and np.isinf(high).all():
    return specs.Array(shape, np.float32, name)
  return specs.BoundedArray(shape, np.float32, low, high, name)


def action_spec(space: Any) -> specs.BoundedArray:
  """Returns the spec of an action as one vector.

  Raises:
    ValueError: the space is not a Box of real numbers with finite bounds.
  """
  from gymnasium import spaces

  if not isinstance(space, spaces.Box) or space.dtype.kind != 'f':
    raise ValueError(
      f'The action is of the space {type(space).__name__}, {space}; expected '
      'one Box of real numbers: an agent acts with one vector.'
    )
  low, high = space.low.ravel(), space.high.ravel()
  unbounded = ~((low > -conformance.LARGEST) & (high < conformance.LARGEST))
  if unbounded.any() or not low.size:
    raise ValueError(
      f'The action is of the space {space}, of which the numbers '
      f'{np.flatnonzero(unbounded).tolist()} have no bounds; expected one '
      'number or more, with finite bounds. Set them in the environment or by '
      'gymnasium.wrappers.TransformAction.'
    )
  return specs.BoundedArray(low.shape, space.dtype, low, high, name='action')
