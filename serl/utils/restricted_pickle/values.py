"""Placeholders for dtypes, arrays and names in a pickle, and checks of keys."""

import dataclasses
import pickle
from typing import Any

import numpy as np

_MAX_KEY = 64  # values in a key


class Foreign:
  """What stands for something that is no plain data and was not made."""

  def __init__(self, name: str, reason: str):
    """Initialises the object.

    Args:
      name: of it, such as 'datetime.datetime'.
      reason: why it is refused, where it is.
    """
    self.name = name
    self.reason = reason

  def __repr__(self) -> str:
    return f'<{self.name}>'


def foreign_names(value: Any) -> set[str]:
  """Returns the names of what is `Foreign` in a value that was loaded."""
  if isinstance(value, Foreign):
    return {value.name}
  if isinstance(value, dict):
    value = [*value.keys(), *value.values()]
  if not isinstance(value, (list, tuple, set, frozenset)):
    return set()
  return set().union(*map(foreign_names, value))


@dataclasses.dataclass(frozen=True)
class Name:
  """A function or class that a pickle names."""

  module: str
  name: str

  def __str__(self) -> str:
    return f'{self.module}.{self.name}'


class DType:
  """What stands for a dtype while a file is read.

  numpy's own takes any size and flags from a file, at any time, and arrays of
  it then reach past their memory. Here its code alone tells what it is.
  """

  __slots__ = ('dtype',)

  def __init__(self, dtype: np.dtype):
    self.dtype = dtype

  def set_state(self, state: Any) -> None:
    """Sets the byte order; a state with any other change is refused."""
    _, order, *parts, size, alignment, flags = state
    dtype = self.dtype.newbyteorder(order)
    sound = (
      all(part is None for part in parts)
      and size in (-1, dtype.itemsize)
      and alignment in (-1, dtype.alignment)
      and flags == dtype.flags
    )
    if not sound:
      raise pickle.UnpicklingError(
        f'an array is of the dtype {dtype} with the state {short(state)}'
      )
    self.dtype = dtype


class Array:
  """What stands for an array while a file is read."""

  __slots__ = ('array',)

  def __init__(self, array: np.ndarray | Foreign | None = None):
    self.array = np.empty(0, np.int8) if array is None else array


def demand_key(key: Any) -> Any:
  """Returns what may be a dict's key: its hash takes no time to speak of."""
  if isinstance(key, (Array, DType)):
    raise pickle.UnpicklingError('an array is the key of a dict or in a set')
  if not isinstance(key, str) and _key_size(key) > _MAX_KEY:
    raise pickle.UnpicklingError(
      f'a key of a dict or a set holds more than {_MAX_KEY} values'
    )
  return key


def _key_size(key: Any, found: int = 1) -> int:
  """Returns how many values are in a key, or some number above `_MAX_KEY`."""
  # Their hashes tell of their values, by which many keys could be made alike.
  is_large = isinstance(key, int) and key.bit_length() > 60
  if is_large or isinstance(key, complex):
    return _MAX_KEY + 1
  if isinstance(key, (tuple, frozenset)):
    for item in key:
      found = _key_size(item, found + 1)
      if found > _MAX_KEY:
        break
  return found


def short(value: Any) -> str:
  """Returns the beginning of a value as text."""
  if isinstance(value, (list, tuple, dict, set, frozenset)):
    shown = [
      item if isinstance(item, (str, bytes, int, float)) else type(item)
      for item in list(value)[:8]
    ]
    value = type(value)(shown) if isinstance(value, tuple) else shown
  return f'{value!r:.100}'
