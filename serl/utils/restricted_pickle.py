"""Reads pickles of plain data and runs nothing that stands in them.

A pickle may name any function and have it called. Here it may name what numpy
arrays and built-in containers are rebuilt from; anything else is refused.
"""

from collections.abc import Callable
import pickle
from typing import Any, BinaryIO

import numpy as np

# Booleans, integers, floats, complex numbers, bytes and text. Not objects nor
# records: their arrays would be rebuilt from addresses in the file.
_DTYPE_KINDS = 'biufcSU'


class _NDArray:
  """What a file's `numpy.ndarray` becomes: a name that cannot be called."""

  def __new__(cls, *args):
    raise pickle.UnpicklingError(f'numpy.ndarray is called with {args}')


def load(file: str | BinaryIO) -> Any:
  """Returns what a pickle of numpy arrays and containers holds.

  Flax's FrozenDict is read as a dict and JAX's arrays as numpy's, without
  either package.

  Args:
    file: a path, or a file opened for reading bytes.

  Raises:
    pickle.UnpicklingError: if the file holds anything else, which is named, or
      is no pickle or a torn one.
  """
  if not hasattr(file, 'read'):
    with open(file, 'rb') as opened:
      return load(opened)
  name = getattr(file, 'name', 'the pickle')
  try:
    loaded = _Unpickler(file).load()
    _check_arrays(loaded)
    return loaded
  except (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
  ) as error:
    raise pickle.UnpicklingError(
      f'Cannot read {name}: {error or type(error).__name__}. Expected a whole '
      'pickle of numpy arrays, numbers, text, dicts, lists and tuples.'
    ) from error


class _Unpickler(pickle.Unpickler):
  """Knows no names but those in `_ALLOWED`."""

  def find_class(self, module: str, name: str) -> Any:
    try:
      return _ALLOWED[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f'it asks for {module}.{name}, which is refused'
      ) from None


def _reconstruct(kind: type, shape: tuple, code: bytes) -> np.ndarray:
  """Returns the empty array that an array's pickle starts from."""
  if kind is not _NDArray:
    raise pickle.UnpicklingError(f'an array is of the type {kind}')
  return np.empty(0, np.int8)


def _dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype:
  dtype = np.dtype(code, align, copy)
  if dtype.kind not in _DTYPE_KINDS:
    raise pickle.UnpicklingError(f'an array is of the dtype {dtype}')
  return dtype


def _check_arrays(loaded: Any) -> None:
  """Raises UnpicklingError for arrays whose dtype was changed later on."""
  unseen, seen = [loaded], set()
  while unseen:
    value = unseen.pop()
    if isinstance(value, (np.ndarray, np.generic)):
      dtype = value.dtype
      if dtype.kind not in _DTYPE_KINDS or dtype.hasobject:
        raise pickle.UnpicklingError(f'an array is of the dtype {dtype}')
    elif isinstance(value, (dict, list, tuple, set, frozenset)):
      if id(value) in seen:
        continue
      seen.add(id(value))
      unseen.extend(value)
      if isinstance(value, dict):
        unseen.extend(value.values())


def _scalar(dtype: np.dtype, value: bytes) -> np.generic:
  return np.frombuffer(value, dtype, count=1)[0]


def _from_buffer(
  buffer: bytes | bytearray, dtype: np.dtype, shape: tuple, order: str
) -> np.ndarray:
  return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _encode(text: str, encoding: str) -> bytes:
  """Returns bytes as pickles of the old protocols hold them."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'bytes are encoded as {encoding!r}')
  return text.encode('latin1')


def _jax_array(
  rebuild: Callable, args: tuple, state: tuple, aval: Any
) -> np.ndarray:
  """Returns a JAX array, whose pickle is numpy's and its abstract value."""
  if rebuild is not _reconstruct:
    raise pickle.UnpicklingError(f'a JAX array is rebuilt by {rebuild}')
  array = rebuild(*args)
  array.__setstate__(state)
  return array


_ALLOWED = {
  ('numpy', 'ndarray'): _NDArray,
  ('numpy', 'dtype'): _dtype,
  ('_codecs', 'encode'): _encode,
  ('builtins', 'bytearray'): bytearray,
  ('builtins', 'bytes'): bytes,
  ('builtins', 'complex'): complex,
  ('builtins', 'frozenset'): frozenset,
  ('builtins', 'set'): set,
  ('collections', 'OrderedDict'): dict,
  ('flax.core.frozen_dict', 'FrozenDict'): dict,
  ('jax._src.array', '_reconstruct_array'): _jax_array,
}
# numpy 2 moved its core.
for _core in ('numpy.core', 'numpy._core'):
  _ALLOWED |= {
    (f'{_core}.multiarray', '_reconstruct'): _reconstruct,
    (f'{_core}.multiarray', 'scalar'): _scalar,
    (f'{_core}.numeric', '_frombuffer'): _from_buffer,
  }
# Python 2's name of the built-ins, in the protocols up to 2.
_ALLOWED |= {
  ('__builtin__', name): value
  for (module, name), value in _ALLOWED.items()
  if module == 'builtins'
}
