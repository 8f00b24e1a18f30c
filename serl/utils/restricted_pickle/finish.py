"""Replaces the placeholders in a value, and refuses one that is too large."""

import pickle
from typing import Any, NamedTuple

import numpy as np

from serl.utils.restricted_pickle import values as values_lib

_MAX_DEPTH = 32


class _Size(NamedTuple):
  """How large a value is, shared parts counted wherever they are."""

  values: int = 1
  bytes: int = 0
  height: int = 0  # containers from the value down to its deepest


_ONE = _Size()
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_FEW = 8  # items of a tuple that may be looked at again and again
_CIRCLE = values_lib.Foreign('a container that holds itself', 'it holds itself')


class Finish:
  """Puts numpy's own in the place of what stands for them, and measures."""

  def __init__(self, strict: bool, most_values: int, most_bytes: int):
    """Initialises the walk over one value.

    Args:
      strict: whether to refuse what is no plain data.
      most_values: that a container may hold, shared ones counted repeatedly.
      most_bytes: that the arrays in a container may have.
    """
    self._strict = strict
    self._most_values = most_values
    self._most_bytes = most_bytes
    # By the ids of containers, which are kept alive beside them.
    self._finished: dict[int, tuple[Any, Any, _Size]] = {}
    self._begun: set[int] = set()

  def run(self, value: Any) -> Any:
    """Returns a value with all that is in it finished."""
    return self._visit(value, 0)[0]

  def _visit(self, value: Any, depth: int) -> tuple[Any, _Size]:
    kind = type(value)
    if kind in (list, dict, tuple):
      return self._visit_once(value, depth)
    if kind is values_lib.Array:
      value = value.array
    if isinstance(value, np.ndarray):
      return value, _Size(bytes=value.nbytes)
    if kind in (set, frozenset):
      return value, _Size(1 + len(value))
    if kind is values_lib.DType:
      return value.dtype, _ONE
    if kind is values_lib.Name:
      return self._foreign(str(value), f'it asks for {value}'), _ONE
    return value, _ONE

  def _visit_once(
    self, value: list | dict | tuple, depth: int
  ) -> tuple[Any, _Size]:
    if id(value) in self._finished:
      return self._finished[id(value)][1:]
    if id(value) in self._begun:
      return value if self._strict else _CIRCLE, _ONE
    if depth > _MAX_DEPTH:
      return self._foreign('containers that are nested too deep'), _ONE
    self._begun.add(id(value))
    finished, size = self._visit_items(value, depth + 1)
    if (
      size.values > self._most_values
      or size.bytes > self._most_bytes
      or size.height > _MAX_DEPTH
    ):
      name = (
        f'a container that unfolds to {size.values} values in {size.height} '
        f'levels with arrays of {size.bytes} bytes'
      )
      finished, size = self._foreign(name), _ONE
    self._begun.remove(id(value))
    self._finished[id(value)] = value, finished, size
    return finished, size

  def _visit_items(
    self, value: list | dict | tuple, depth: int
  ) -> tuple[Any, _Size]:
    finished = list(value) if isinstance(value, tuple) else value
    items = value.items() if isinstance(value, dict) else enumerate(value)
    values, bytes_, height = 1, 0, 0
    changed = False
    for key, item in items:
      kind = type(item)
      if kind in _PLAIN:
        values += 1
        continue
      if (
        kind is tuple
        and len(item) <= _FEW
        and _PLAIN.issuperset(map(type, item))
      ):
        values += 1 + len(item)
        height = max(height, 1)
        continue
      new, size = self._visit(item, depth)
      values += size.values
      bytes_ += size.bytes
      height = max(height, size.height)
      if new is not item:
        # The keys stay as they are, so that a dict may be walked meanwhile.
        finished[key] = new
        changed = True
    size = _Size(values, bytes_, height + 1)
    if isinstance(value, tuple):
      return tuple(finished) if changed else value, size
    return value, size

  def _foreign(
    self, name: str, reason: str | None = None
  ) -> values_lib.Foreign:
    reason = reason or f'it holds {name}, which is refused'
    if self._strict:
      raise pickle.UnpicklingError(reason)
    return values_lib.Foreign(name, reason)
