"""The keys of a replay's items, as JAX can carry them: without 64 bits."""

import numpy as np


def pack(keys: np.ndarray) -> np.ndarray:
  """Returns keys [...] uint64 as pairs [..., 2] uint32."""
  keys = np.ascontiguousarray(keys, np.uint64)
  return keys[..., None].view(np.uint32)


def unpack(pairs: np.ndarray) -> np.ndarray:
  """Returns the keys [...] uint64 that `pack` made pairs [..., 2] of."""
  return np.ascontiguousarray(pairs, np.uint32).view(np.uint64)[..., 0]
