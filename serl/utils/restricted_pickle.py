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


class _DType:
  """What stands for a dtype while a file is read.

  numpy's own takes any size and flags from a file, at any time, and arrays of
  it then reach past their memory. Here its code alone tells what it is.
  """

  def __init__(self, code: str, align: bool = False, copy: bool = False):
    del align, copy  # of records
    self.dtype = np.dtype(code)
    if self.dtype.kind not in _DTYPE_KINDS:
      raise pickle.UnpicklingError(f'an array is of the dtype {self.dtype}')

  def __setstate__(self, state: tuple):
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
        f'an array is of the dtype {dtype} with the state {state}'
      )
    self.dtype = dtype


class _Array:
  """What stands for an array while a file is read."""

  def __init__(self):
    self.array = np.empty(0, np.int8)

  def __setstate__(self, state: tuple):
    _, shape, dtype, is_fortran, data = state
    array = _view(data, dtype, shape, 'F' if is_fortran else 'C')
    # As numpy does; no copy where it is native already.
    self.array = np.asarray(array, array.dtype.newbyteorder('='))


def _view(
  data: bytes | bytearray, dtype: _DType, shape: tuple, order: str
) -> np.ndarray:
  """Returns the array that `data` holds, which is as long as it takes."""
  if not isinstance(dtype, _DType):
    raise pickle.UnpicklingError(f'an array is of the dtype {dtype!r}')
  array = np.ndarray(shape, dtype.dtype, data, order=order)
  if array.nbytes != len(data):
    raise pickle.UnpicklingError(
      f'an array of {array.nbytes} bytes has {len(data)}'
    )
  return array


def load(file: str | BinaryIO) -> Any:
  """Returns what a pickle of numpy arrays and containers holds.

  Flax's FrozenDict is read as a dict and JAX's arrays as numpy's, without
  either package. Arrays cannot be written to: they share the file's memory.

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
    return _finish(_Unpickler(file).load(), set())
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


def _finish(value: Any, seen: set[int]) -> Any:
  """Returns a value with numpy's own for what stands for them.

  Args:
    value: of what was read; lists and dicts are changed in place.
    seen: ids of those that have been.
  """
  if isinstance(value, _Array):
    return value.array
  if isinstance(value, _DType):
    return value.dtype
  if isinstance(value, tuple):
    finished = [_finish(item, seen) for item in value]
    same = all(old is new for old, new in zip(value, finished))
    return value if same else tuple(finished)
  if isinstance(value, (list, dict)) and id(value) not in seen:
    seen.add(id(value))
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
      value[key] = _finish(item, seen)
  keys = value if isinstance(value, (dict, set, frozenset)) else ()
  if any(_finish(key, seen) is not key for key in keys):
    raise pickle.UnpicklingError('an array is the key of a dict or in a set')
  return value


def _reconstruct(kind: type, shape: tuple, code: bytes) -> _Array:
  """Returns the empty array that an array's pickle starts from."""
  if kind is not _NDArray:
    raise pickle.UnpicklingError(f'an array is of the type {kind}')
  return _Array()


def _scalar(dtype: _DType, value: bytes) -> np.generic:
  return _view(value, dtype, (), 'C')[()]


def _from_buffer(
  buffer: bytes | bytearray, dtype: _DType, shape: tuple, order: str
) -> _Array:
  made = _Array()
  made.array = _view(buffer, dtype, shape, order)
  return made


def _encode(text: str, encoding: str) -> bytes:
  """Returns bytes as pickles of the old protocols hold them."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'bytes are encoded as {encoding!r}')
  return text.encode('latin1')


def _jax_array(
  rebuild: Callable, args: tuple, state: tuple, aval: Any
) -> _Array:
  """Returns a JAX array, whose pickle is numpy's and its abstract value."""
  if rebuild is not _reconstruct:
    raise pickle.UnpicklingError(f'a JAX array is rebuilt by {rebuild}')
  array = rebuild(*args)
  array.__setstate__(state)
  return array


_ALLOWED = {
  ('numpy', 'ndarray'): _NDArray,
  ('numpy', 'dtype'): _DType,
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
