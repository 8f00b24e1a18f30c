"""Functions that take the place of those that a pickle names.

A function that a pickle names is never imported. `KNOWN` maps the names of
numpy, JAX, flax and Python to functions of this module. Each is called with the
machine and the arguments in the file.
"""

from collections.abc import Callable
import pickle
import re
from typing import Any, Protocol

import numpy as np

from serl.utils.restricted_pickle import values as values_lib

# Booleans, integers, floats, complex numbers, bytes and text. Not objects nor
# records: their arrays would be rebuilt from addresses in the file.
_DTYPE_KINDS = 'biufcSU'
_DTYPE_CODE = re.compile(r'[a-zA-Z?]\d{0,9}')


class Machine(Protocol):
  """The part of the stack machine that the functions use."""

  def foreign(self, name: Any, reason: str | None = None) -> values_lib.Foreign:
    """Returns what stands for something that is no plain data."""

  def charge_values(self, count: int) -> None:
    """Counts values that are copied from one container to another."""

  def charge(self, count: int) -> None:
    """Counts bytes that are copied."""


def _make_dtype(
  machine: Machine, code: str, align: bool = False, copy: bool = False
) -> values_lib.DType | values_lib.Foreign:
  del align, copy  # of records
  if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
    return _foreign_dtype(machine, code)
  try:
    dtype = np.dtype(code)
  except (TypeError, ValueError):
    return _foreign_dtype(machine, code)
  if dtype.kind not in _DTYPE_KINDS:
    return _foreign_dtype(machine, dtype)
  if not dtype.itemsize:
    # Any number of such items fits into no bytes.
    raise pickle.UnpicklingError(f'an array is of the dtype {dtype} of 0 bytes')
  return values_lib.DType(dtype)


def _foreign_dtype(machine: Machine, dtype: Any) -> values_lib.Foreign:
  text = str(dtype)[:40]
  return machine.foreign(
    f'numpy.ndarray of {text}', f'an array is of the dtype {text}'
  )


def _make_array(
  machine: Machine, kind: Any, shape: Any, code: Any
) -> values_lib.Array | values_lib.Foreign:
  """Returns the empty array that an array's pickle starts from."""
  if kind != _NDARRAY:
    return machine.foreign(kind, f'an array is of the type {kind}')
  return values_lib.Array()


def set_array(machine: Machine, target: values_lib.Array, state: Any) -> None:
  """Sets the array of `target` from the state that numpy pickles it with."""
  _, shape, dtype, is_fortran, data = state
  array = _view(data, dtype, shape, 'F' if is_fortran else 'C')
  if isinstance(array, np.ndarray) and not array.dtype.isnative:
    # As numpy does.
    machine.charge(array.nbytes)
    array = array.astype(array.dtype.newbyteorder('='))
  target.array = array


def _view(
  data: Any, dtype: Any, shape: Any, order: str
) -> np.ndarray | values_lib.Foreign:
  """Returns the array that `data` holds, which is as long as it takes."""
  if isinstance(dtype, values_lib.Foreign):
    return dtype
  if not isinstance(dtype, values_lib.DType):
    raise pickle.UnpicklingError(
      f'an array is of the dtype {values_lib.short(dtype)}'
    )
  if not isinstance(data, (bytes, bytearray)):
    raise pickle.UnpicklingError(f'an array is made of a {type(data)}')
  if not isinstance(shape, tuple) or min(shape, default=0) < 0:
    raise pickle.UnpicklingError(
      f'an array is of the shape {values_lib.short(shape)}'
    )
  array = np.ndarray(shape, dtype.dtype, data, order=order)
  if array.nbytes != len(data):
    raise pickle.UnpicklingError(
      f'an array of {array.nbytes} bytes has {len(data)}'
    )
  return array


def _make_scalar(machine: Machine, dtype: Any, value: Any) -> Any:
  if isinstance(value, bytes):
    machine.charge(len(value))
  array = _view(value, dtype, (), 'C')
  return array if isinstance(array, values_lib.Foreign) else array[()]


def _make_array_of_buffer(
  machine: Machine, buffer: Any, dtype: Any, shape: Any, order: str
) -> values_lib.Array:
  return values_lib.Array(_view(buffer, dtype, shape, order))


def _make_jax_array(
  machine: Machine, rebuild: Any, arguments: Any, state: Any, aval: Any
) -> values_lib.Array | values_lib.Foreign:
  """Returns a JAX array, whose pickle is numpy's and its abstract value."""
  if rebuild not in _RECONSTRUCT:
    raise pickle.UnpicklingError(
      f'a JAX array is rebuilt by {values_lib.short(rebuild)}'
    )
  array = _make_array(machine, *arguments)
  if isinstance(array, values_lib.Array):
    set_array(machine, array, state)
  return array


def _refuse_array(machine: Machine, *arguments: Any) -> None:
  raise pickle.UnpicklingError(
    f'numpy.ndarray is called with {values_lib.short(arguments)}'
  )


def _make_bytes(
  machine: Machine, content: bytes | str = b'', encoding: str = ''
) -> bytes:
  """Returns bytes as pickles of the old protocols hold them."""
  machine.charge(len(content))
  if encoding:
    if encoding not in ('latin1', 'latin-1'):
      raise pickle.UnpicklingError(
        f'bytes are encoded as {values_lib.short(encoding)}'
      )
    return content.encode('latin1')
  if not isinstance(content, (bytes, bytearray)):
    raise pickle.UnpicklingError(f'bytes are made of a {type(content)}')
  return bytes(content)


def _make_bytearray(machine: Machine, *arguments: Any) -> bytearray:
  return bytearray(_make_bytes(machine, *arguments))


def _make_complex(machine: Machine, real: float, imag: float) -> complex:
  return complex(float(real), float(imag))


def _make_set(machine: Machine, items: list[Any] | tuple = ()) -> set[Any]:
  machine.charge_values(len(items))
  return set(map(values_lib.demand_key, items))


def _make_frozenset(machine: Machine, items: Any = ()) -> frozenset[Any]:
  return frozenset(_make_set(machine, items))


def _make_dict(machine: Machine, items: Any = ()) -> dict[Any, Any]:
  if isinstance(items, dict):
    return items
  machine.charge_values(len(items))
  return {values_lib.demand_key(key): value for key, value in items}


def _make_default_dict(
  machine: Machine, factory: Any = None, items: Any = ()
) -> dict[Any, Any]:
  return _make_dict(machine, items)


_NDARRAY = values_lib.Name('numpy', 'ndarray')
KNOWN: dict[values_lib.Name, Callable[..., Any]] = {
  _NDARRAY: _refuse_array,
  values_lib.Name('numpy', 'dtype'): _make_dtype,
  values_lib.Name('_codecs', 'encode'): _make_bytes,
  values_lib.Name('builtins', 'bytearray'): _make_bytearray,
  values_lib.Name('builtins', 'bytes'): _make_bytes,
  values_lib.Name('builtins', 'complex'): _make_complex,
  values_lib.Name('builtins', 'frozenset'): _make_frozenset,
  values_lib.Name('builtins', 'set'): _make_set,
  values_lib.Name('collections', 'OrderedDict'): _make_dict,
  values_lib.Name('collections', 'defaultdict'): _make_default_dict,
  values_lib.Name('flax.core.frozen_dict', 'FrozenDict'): _make_dict,
  values_lib.Name('jax._src.array', '_reconstruct_array'): _make_jax_array,
}
_RECONSTRUCT = []
# numpy 2 moved its core.
for _core in ('numpy.core', 'numpy._core'):
  _RECONSTRUCT.append(values_lib.Name(f'{_core}.multiarray', '_reconstruct'))
  KNOWN |= {
    _RECONSTRUCT[-1]: _make_array,
    values_lib.Name(f'{_core}.multiarray', 'scalar'): _make_scalar,
    values_lib.Name(f'{_core}.numeric', '_frombuffer'): _make_array_of_buffer,
  }
# Python 2's name of the built-ins, in the protocols up to 2.
KNOWN |= {
  values_lib.Name('__builtin__', known.name): function
  for known, function in KNOWN.items()
  if known.module == 'builtins'
}
