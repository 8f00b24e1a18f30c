"""Loads the values of the pickles in a file."""

import os
import pickle
from typing import Any, BinaryIO

from serl.utils import regular_file
from serl.utils import unpacking
from serl.utils.restricted_pickle import finish as finish_lib
from serl.utils.restricted_pickle import machine as machine_lib
from serl.utils.restricted_pickle import source as source_lib

_FREE_VALUES = 10_000


def load(
  file: str | os.PathLike | BinaryIO, most_values: int | None = None
) -> Any:
  """Returns what a pickle of numpy arrays and containers holds.

  Flax's FrozenDict is read as a dict and JAX's arrays as numpy's, without
  either package. Arrays cannot be written to: they share the file's memory.

  Args:
    file: a path, or a file opened for reading bytes.
    most_values: that are expected in it, arrays counted as one.

  Raises:
    OSError: there is no regular file.
    pickle.UnpicklingError: if the file holds anything else, which is named, or
      is no pickle or a torn one, or asks for more than its size allows.
  """
  (value,) = _load(file, strict=True, most_values=most_values)
  return value


def load_each(file: str | os.PathLike | BinaryIO) -> list[Any]:
  """Returns what each of the pickles holds that stand in a file in a row.

  Args:
    file: a path, or a file opened for reading bytes.

  Returns:
    the values, in which `Foreign` stands for what is no plain data.

  Raises:
    OSError: there is no regular file.
    pickle.UnpicklingError: the file is no pickle or a torn one, or asks for
      more than its size allows.
  """
  return _load(file, strict=False)


def _load(
  file: str | os.PathLike | BinaryIO,
  strict: bool,
  most_values: int | None = None,
  name: str = 'the pickle',
) -> list[Any]:
  if not hasattr(file, 'read'):
    with regular_file.open_bytes(file) as opened:
      return _load(opened, strict, most_values, str(file))
  try:
    source = source_lib.Source(file)
    machine = machine_lib.Machine(source, strict)
    most_values = most_values or _FREE_VALUES + source.size
    most_bytes = unpacking.limit(source.size)
    values = []
    while True:
      values.append(
        finish_lib.Finish(strict, most_values, most_bytes).run(machine.run())
      )
      if not source.left:
        return values
      if strict:
        raise pickle.UnpicklingError(f'{source.left} bytes follow its end')
  except (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
  ) as error:
    raise pickle.UnpicklingError(
      f'Cannot read {name}: {error or type(error).__name__}. Expected a whole '
      'pickle of numpy arrays, numbers, text, dicts, lists and tuples.'
    ) from error
