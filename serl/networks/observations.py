"""From an observation of named arrays to one scaled vector."""

from collections.abc import Callable
import math

import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types


def flat_size(observation_spec: types.NestedSpec) -> int:
  """Returns how many numbers an observation has."""
  leaves = specs.flatten(observation_spec).values()
  return sum(math.prod(leaf.shape) for leaf in leaves)


def make_flatten(
  observation_spec: types.NestedSpec, scale: bool = True
) -> Callable[[types.NestedArray], jax.Array]:
  """Makes a pure function that concatenates an observation's arrays.

  The arrays follow in the order of their sorted names. With `scale`, every
  number with finite bounds is mapped from [minimum, maximum] to [-1, 1]; a
  number without passes as it is.

  Args:
    observation_spec: a tree of specs.
    scale: whether to scale by the bounds.

  Returns:
    A function: tree of [..., *shape] -> [..., flat_size] float32.
  """
  leaves = specs.flatten(observation_spec)
  affines = {path: _affine(leaf, scale) for path, leaf in leaves.items()}

  def flatten(observation: types.NestedArray) -> jax.Array:
    arrays = specs.flatten(observation)
    if arrays.keys() != leaves.keys():
      raise ValueError(
        f'The observation has the arrays {sorted(arrays)}, '
        f'its spec has {sorted(leaves)}.'
      )
    columns = []
    for path, leaf in leaves.items():
      array = jnp.asarray(arrays[path])
      lead = array.shape[: array.ndim - len(leaf.shape)]
      if array.shape != lead + tuple(leaf.shape):
        raise ValueError(
          f'The observation {path or "value"} has shape {array.shape}, '
          f'expected [..., {", ".join(map(str, leaf.shape))}].'
        )
      factor, offset = affines[path]
      column = array.reshape((*lead, -1)).astype(jnp.float32)
      columns.append(column * factor + offset)
    return jnp.concatenate(columns, axis=-1)

  return flatten


def _affine(
  leaf: specs.Array, scale: bool
) -> tuple[np.ndarray | float, np.ndarray | float]:
  """Returns the factor and the offset that map bounds to [-1, 1]."""
  if not scale or not isinstance(leaf, specs.BoundedArray):
    return 1.0, 0.0
  minimum = np.broadcast_to(leaf.minimum, leaf.shape).reshape(-1)
  maximum = np.broadcast_to(leaf.maximum, leaf.shape).reshape(-1)
  # Bounds of a type's whole range (dm_env gives them for "unbounded") would
  # overflow in the subtraction; nothing physical is near them.
  with np.errstate(over='ignore', invalid='ignore'):
    width = maximum.astype(np.float64) - minimum.astype(np.float64)
  bounded = np.isfinite(width) & (width > 0) & (width < 1e30)
  safe_width = np.where(bounded, width, 2.0)
  centre = np.where(bounded, (maximum / 2 + minimum / 2), 0.0)
  factor = 2.0 / safe_width
  return factor.astype(np.float32), (-centre * factor).astype(np.float32)
