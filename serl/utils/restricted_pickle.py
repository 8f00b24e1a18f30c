"""Reads pickles of plain data; nothing that stands in them is ever called.

A pickle is a program: it may name any function and have it called. Here its
operations make built-in containers, and what numpy rebuilds arrays from is
known by its name. Anything else is `Foreign`: it is noted and not made.

A few bytes of a pickle can ask for much: memory, by lengths that they claim and
by copies, and time, by containers that hold each other over and over. All that
is bounded by the bytes of the file.
"""

from collections.abc import Callable
import dataclasses
import io
import os
import pickle
import re
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from serl.utils import regular_file
from serl.utils import unpacking

# Booleans, integers, floats, complex numbers, bytes and text. Not objects nor
# records: their arrays would be rebuilt from addresses in the file.
_DTYPE_KINDS = 'biufcSU'
_DTYPE_CODE = re.compile(r'[a-zA-Z?]\d{0,9}')

# Python's pickles take up to 0.65 operations and 0.17 containers a byte, with
# nothing but empty ones in them.
_FREE_OPERATIONS, _OPERATIONS_PER_BYTE = 20_000, 0.8
_FREE_CONTAINERS, _CONTAINERS_PER_BYTE = 10_000, 0.2
# Of operations that leave nothing, which only containers that hold themselves
# take.
_MAX_WASTED = 1000
# Pickles put items into their containers by the thousand.
_MAX_STACK = 100_000
_MAX_DEPTH = 32
_FREE_VALUES = 10_000
_MAX_LINE = 1024  # characters of a number or a name, bytes of an integer
_MAX_KEY = 64  # values in a key

_CHUNK = 1 << 16


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


@dataclasses.dataclass(frozen=True)
class _Name:
  """A function or class that a pickle names."""

  module: str
  name: str

  def __str__(self) -> str:
    return f'{self.module}.{self.name}'


class _Size(NamedTuple):
  """How large a value is, shared parts counted wherever they are."""

  values: int = 1
  bytes: int = 0
  height: int = 0  # containers from the value down to its deepest


_ONE = _Size()
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_FEW = 8  # items of a tuple that may be looked at again and again


class _DType:
  """What stands for a dtype while a file is read.

  numpy's own takes any size and flags from a file, at any time, and arrays of
  it then reach past their memory. Here its code alone tells what it is.
  """

  __slots__ = ('dtype',)

  def __init__(self, dtype: np.dtype):
    self.dtype = dtype

  def set_state(self, state: Any) -> None:
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
        f'an array is of the dtype {dtype} with the state {_short(state)}'
      )
    self.dtype = dtype


class _Array:
  """What stands for an array while a file is read."""

  __slots__ = ('array',)

  def __init__(self, array: np.ndarray | Foreign | None = None):
    self.array = np.empty(0, np.int8) if array is None else array


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


def foreign_names(value: Any) -> set[str]:
  """Returns the names of what is `Foreign` in a value that was loaded."""
  if isinstance(value, Foreign):
    return {value.name}
  if isinstance(value, dict):
    value = [*value.keys(), *value.values()]
  if not isinstance(value, (list, tuple, set, frozenset)):
    return set()
  return set().union(*map(foreign_names, value))


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
    source = _Source(file)
    machine = _Machine(source, strict, most_values)
    values = [machine.run()]
    while source.left:
      if strict:
        raise pickle.UnpicklingError(f'{source.left} bytes follow its end')
      values.append(machine.run())
    return values
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


class _Source:
  """The bytes of a file, of which no more is asked for than there is.

  `buffer` and `at`, where the next byte is in it, are there for the machine's
  loop; calls would take most of its time.
  """

  __slots__ = ('_before', '_file', 'at', 'buffer', 'size')

  def __init__(self, file: BinaryIO):
    self._file = file
    begin = file.tell()
    self.size = file.seek(0, io.SEEK_END) - begin
    file.seek(begin)
    self.buffer = b''
    self.at = 0
    self._before = 0  # bytes before the buffer's

  @property
  def taken(self) -> int:
    """The number of bytes that were taken."""
    return self._before + self.at

  @property
  def left(self) -> int:
    """The number of bytes that were not."""
    return self.size - self.taken

  def take_code(self) -> int:
    """Returns the next byte."""
    at = self.at
    if at == len(self.buffer):
      self.refill()
      at = 0
    self.at = at + 1
    return self.buffer[at]

  def take(self, count: int) -> bytes:
    """Returns the next bytes."""
    end = self.at + count
    if end > len(self.buffer):
      return self._take_more(count)
    taken = self.buffer[self.at : end]
    self.at = end
    return taken

  def take_with(self, width: int) -> bytes:
    """Returns bytes whose number stands before them."""
    return self.take(int.from_bytes(self.take(width), 'little'))

  def take_line(self, longest: int | None = None) -> bytes:
    """Returns the bytes before the next line's end, which is taken too."""
    parts = []
    while (end := self.buffer.find(b'\n', self.at)) < 0:
      parts.append(self.take(len(self.buffer) - self.at))
      self.refill()
    parts.append(self.take(end - self.at))
    self.at += 1
    line = b''.join(parts)
    if longest is not None and len(line) > longest:
      raise pickle.UnpicklingError(f'a line has {len(line)} characters')
    return line

  def _take_more(self, count: int) -> bytes:
    if count > self.left:
      raise pickle.UnpicklingError(
        f'it asks for {count} bytes where {self.left} are left'
      )
    # Arrays are read at once, into memory of their own.
    kept = self.buffer[self.at :]
    taken = kept + self._file.read(count - len(kept))
    if len(taken) < count:
      raise EOFError('it ends early')
    self._before, self.buffer, self.at = self.taken + count, b'', 0
    return taken

  def refill(self) -> None:
    """Reads on where all of the buffer was taken."""
    self._before, self.at = self.taken, 0
    self.buffer = self._file.read(_CHUNK)
    if not self.buffer:
      raise EOFError('it ends early')


class _Machine:
  """Does the operations of the pickles of a file, on a stack of values."""

  def __init__(
    self, source: _Source, strict: bool, most_values: int | None = None
  ):
    """Initialises the machine.

    Args:
      source: of the operations.
      strict: whether to refuse what is no plain data.
      most_values: that each pickle may hold; None for what the size allows.
    """
    self._source = source
    self._strict = strict
    self._most_values = most_values or _FREE_VALUES + source.size
    self._operations = self._containers = self._wasted = 0
    self._copied = 0  # bytes
    self._begin()

  def _begin(self) -> None:
    self._stack: list[Any] = []
    self._marks: list[int] = []  # how high the stack was at each mark
    self._memo: list[Any] = []

  def run(self) -> Any:
    """Returns the value that the next pickle leaves."""
    self._begin()
    source, stack, memo = self._source, self._stack, self._memo
    operations = 1
    while True:
      try:
        code = source.buffer[source.at]
      except IndexError:
        source.refill()
        continue
      source.at += 1
      if code == _STOP:
        break
      operations += 1
      if not operations & 255:
        self._operations += 256
        self._demand_few()
      # Most are one of these three.
      if code == _BINGET:
        stack.append(memo[source.take_code()])
      elif code == _MEMOIZE:
        memo.append(stack[-1])
      elif code == _BININT1:
        stack.append(source.take_code())
      else:
        _OPERATIONS[code](self)
    self._operations += operations & 255
    self._demand_few()
    if len(stack) != 1 or self._marks:
      raise pickle.UnpicklingError('it does not end with one value')
    most_bytes = unpacking.limit(self._source.size)
    finish = _Finish(self._strict, self._most_values, most_bytes)
    return finish.run(stack.pop())

  def _demand_few(self) -> None:
    """Refuses more than so many bytes of a pickle have."""
    taken = self._source.taken
    for name, count, most in (
      (
        'operations',
        self._operations,
        _FREE_OPERATIONS + _OPERATIONS_PER_BYTE * taken,
      ),
      (
        'containers',
        self._containers,
        _FREE_CONTAINERS + _CONTAINERS_PER_BYTE * taken,
      ),
      ('notes', len(self._memo), 100 + self._operations / 2),
      ('values in hand', len(self._stack) + len(self._marks), _MAX_STACK),
      ('operations for nothing', self._wasted, _MAX_WASTED),
    ):
      if count > most:
        raise pickle.UnpicklingError(
          f'it has {count} {name} within {taken} bytes'
        )

  # What operations are made of.

  def push(self, value: Any) -> None:
    """Puts a value on the stack."""
    self._stack.append(value)

  def push_container(self, value: Any) -> None:
    """Puts a value on the stack that takes memory of its own."""
    self._containers += 1
    self._stack.append(value)

  def push_foreign(self, name: Any) -> None:
    """Puts what is no plain data on the stack, or refuses it."""
    self.push_container(self.foreign(name))

  def foreign(self, name: Any, reason: str | None = None) -> Foreign:
    """Returns what stands for something that is no plain data."""
    if isinstance(name, Foreign):
      name = name.name
    reason = reason or f'it asks for {name}, which is refused'
    if self._strict:
      raise pickle.UnpicklingError(reason)
    return Foreign(str(name)[:100], reason)

  def pop_mark(self) -> list[Any]:
    """Takes the values since the last mark off the stack."""
    height = self._marks.pop()
    values = self._stack[height:]
    del self._stack[height:]
    return values

  def charge_values(self, count: int) -> None:
    """Counts values that are copied from one container to another."""
    self._containers += -(-count // 4)
    self._demand_few()

  def charge(self, count: int) -> None:
    """Counts bytes that are copied; all copies are no larger than the file."""
    self._copied += count
    if self._copied > self._source.size:
      raise pickle.UnpicklingError(
        f'it copies {self._copied} bytes, expected up to {self._source.size}'
      )

  # The operations.

  def refuse(self, code: int) -> None:
    raise pickle.UnpicklingError(f'it has the operation {bytes([code])!r}')

  def mark(self) -> None:
    self._marks.append(len(self._stack))

  def discard(self) -> None:
    self._wasted += 1
    if self._marks and self._marks[-1] == len(self._stack):
      self._marks.pop()
    else:
      self._stack.pop()

  def discard_mark(self) -> None:
    self._wasted += 1
    self.pop_mark()

  def skip(self, count: int) -> None:
    self._source.take(count)

  def push_byte(self) -> None:
    self._stack.append(self._source.take_code())

  def push_binary(self, form: struct.Struct) -> None:
    self._stack.extend(form.unpack(self._source.take(form.size)))

  def push_long(self, width: int) -> None:
    count = int.from_bytes(self._source.take(width), 'little')
    if count > _MAX_LINE:
      raise pickle.UnpicklingError(f'an integer has {count} bytes')
    self.push(int.from_bytes(self._source.take(count), 'little', signed=True))

  def push_number_line(self) -> None:
    line = self._source.take_line(_MAX_LINE)
    booleans = {b'00': False, b'01': True}
    number = booleans[line] if line in booleans else int(line.rstrip(b'L'))
    self.push(number)

  def push_float_line(self) -> None:
    self.push(float(self._source.take_line(_MAX_LINE)))

  def push_text_line(self) -> None:
    self.push(self._source.take_line().decode('raw-unicode-escape'))

  def push_quoted_line(self) -> None:
    line = self._source.take_line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
      raise pickle.UnpicklingError(f'a text is written {_short(line)}')
    self.push(line[1:-1].decode('unicode-escape'))

  def push_bytes(self, width: int) -> None:
    self.push(self._source.take_with(width))

  def push_text(self, width: int) -> None:
    self.push(self._source.take_with(width).decode('utf-8', 'surrogatepass'))

  def push_ascii(self, width: int) -> None:
    self.push(self._source.take_with(width).decode('ascii'))

  def push_bytearray(self) -> None:
    self.push(bytearray(self._source.take_with(8)))

  def push_tuple_of_mark(self) -> None:
    self.push_container(tuple(self.pop_mark()))

  def push_tuple(self, count: int) -> None:
    stack = self._stack
    if len(stack) < count:
      raise IndexError(f'a tuple of {count} is made of {len(stack)}')
    stack[-count:] = [tuple(stack[-count:])]
    self._containers += 1

  def push_list_of_mark(self) -> None:
    self.push_container(self.pop_mark())

  def push_dict_of_mark(self) -> None:
    items = self.pop_mark()
    self.push_container({})
    self.set_items(items)

  def push_frozenset(self) -> None:
    self.push_container(frozenset(map(_demand_key, self.pop_mark())))

  def append(self) -> None:
    item = self._stack.pop()
    self.extend([item])

  def extend(self, items: list[Any] | None = None) -> None:
    items = self.pop_mark() if items is None else items
    if isinstance(self._stack[-1], list):
      self._stack[-1].extend(items)
    else:
      self._demand_foreign('appends to')

  def set_item(self) -> None:
    value = self._stack.pop()
    self.set_items([self._stack.pop(), value])

  def set_items(self, items: list[Any] | None = None) -> None:
    items = self.pop_mark() if items is None else items
    target = self._stack[-1]
    if not isinstance(target, dict):
      self._demand_foreign('sets items of')
      return
    for key, value in zip(items[::2], items[1::2], strict=True):
      target[_demand_key(key)] = value

  def add_items(self) -> None:
    items = self.pop_mark()
    if isinstance(self._stack[-1], set):
      self._stack[-1].update(map(_demand_key, items))
    else:
      self._demand_foreign('adds items to')

  def _demand_foreign(self, verb: str) -> None:
    """Refuses to change anything but what is not made in any case."""
    if not isinstance(self._stack[-1], Foreign):
      raise pickle.UnpicklingError(f'it {verb} a {type(self._stack[-1])}')

  def push_name_of_lines(self) -> None:
    module = self._source.take_line(_MAX_LINE).decode()
    self._push_name(module, self._source.take_line(_MAX_LINE).decode())

  def push_name(self) -> None:
    name, module = self._stack.pop(), self._stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
      raise pickle.UnpicklingError('a name is no text')
    self._push_name(module, name)

  def _push_name(self, module: str, name: str) -> None:
    found = _Name(module, name)
    if found in _KNOWN:
      self.push(found)
    else:
      self.push_foreign(found)

  def call(self) -> None:
    """Rebuilds what is known by the name of its function."""
    arguments, function = self._stack.pop(), self._stack.pop()
    if not isinstance(arguments, tuple):
      raise pickle.UnpicklingError('a function is called without a tuple')
    if isinstance(function, Foreign):
      self.push_foreign(function)
    elif isinstance(function, _Name):
      self.push_container(_KNOWN[function](self, *arguments))
    else:
      raise pickle.UnpicklingError(f'it calls a {type(function)}')

  def make(self) -> None:
    """Pushes an object of a class: none that is known is made so."""
    del self._stack[-1]  # arguments
    self.push_foreign(self._stack.pop())

  def make_with_keywords(self) -> None:
    del self._stack[-1]
    self.make()

  def make_of_mark(self) -> None:
    self.push_foreign(self.pop_mark()[0])

  def make_of_lines(self) -> None:
    self.pop_mark()
    module = self._source.take_line(_MAX_LINE).decode()
    name = self._source.take_line(_MAX_LINE).decode()
    self.push_foreign(_Name(module, name))

  def set_state(self) -> None:
    state, target = self._stack.pop(), self._stack[-1]
    if isinstance(target, _DType):
      target.set_state(state)
    elif isinstance(target, _Array):
      _set_array(self, target, state)
    elif not isinstance(target, Foreign):
      raise pickle.UnpicklingError(f'it sets the state of a {type(target)}')

  def note(self, width: int) -> None:
    self._note(int.from_bytes(self._source.take(width), 'little'))

  def note_line(self) -> None:
    self._note(int(self._source.take_line(_MAX_LINE)))

  def note_next(self) -> None:
    self._memo.append(self._stack[-1])

  def _note(self, index: int) -> None:
    # Python 2 counted from 1.
    if index == len(self._memo) + 1:
      self._memo.append(None)
    if index == len(self._memo):
      self._memo.append(self._stack[-1])
    elif 0 <= index < len(self._memo):
      self._memo[index] = self._stack[-1]
    else:
      raise pickle.UnpicklingError(
        f'it notes a value under {index} after {len(self._memo)} others'
      )

  def get(self, width: int) -> None:
    self._get(int.from_bytes(self._source.take(width), 'little'))

  def get_line(self) -> None:
    self._get(int(self._source.take_line(_MAX_LINE)))

  def _get(self, index: int) -> None:
    if not 0 <= index < len(self._memo):
      raise pickle.UnpicklingError(f'it gets note {index} of {len(self._memo)}')
    self._stack.append(self._memo[index])


def _pushing(value: Any) -> Callable[[_Machine], None]:
  return lambda machine: machine.push(value)


def _with(operation: Callable[..., None], argument: Any):
  return lambda machine: operation(machine, argument)


def _making(kind: type) -> Callable[[_Machine], None]:
  return lambda machine: machine.push_container(kind())


# Persistent ids, extensions, copies of the last value and buffers outside of
# the file are no part of the data that this is for.
_BY_CODE = {
  pickle.PROTO: _with(_Machine.skip, 1),
  pickle.FRAME: _with(_Machine.skip, 8),
  pickle.MARK: _Machine.mark,
  pickle.POP: _Machine.discard,
  pickle.POP_MARK: _Machine.discard_mark,
  pickle.NONE: _pushing(None),
  pickle.NEWTRUE: _pushing(True),
  pickle.NEWFALSE: _pushing(False),
  pickle.EMPTY_TUPLE: _pushing(()),
  pickle.INT: _Machine.push_number_line,
  pickle.LONG: _Machine.push_number_line,
  pickle.FLOAT: _Machine.push_float_line,
  pickle.BININT: _with(_Machine.push_binary, struct.Struct('<i')),
  pickle.BININT1: _Machine.push_byte,
  pickle.BININT2: _with(_Machine.push_binary, struct.Struct('<H')),
  pickle.BINFLOAT: _with(_Machine.push_binary, struct.Struct('>d')),
  pickle.LONG1: _with(_Machine.push_long, 1),
  pickle.LONG4: _with(_Machine.push_long, 4),
  pickle.STRING: _Machine.push_quoted_line,
  pickle.UNICODE: _Machine.push_text_line,
  pickle.SHORT_BINSTRING: _with(_Machine.push_ascii, 1),
  pickle.BINSTRING: _with(_Machine.push_ascii, 4),
  pickle.SHORT_BINUNICODE: _with(_Machine.push_text, 1),
  pickle.BINUNICODE: _with(_Machine.push_text, 4),
  pickle.BINUNICODE8: _with(_Machine.push_text, 8),
  pickle.SHORT_BINBYTES: _with(_Machine.push_bytes, 1),
  pickle.BINBYTES: _with(_Machine.push_bytes, 4),
  pickle.BINBYTES8: _with(_Machine.push_bytes, 8),
  pickle.BYTEARRAY8: _Machine.push_bytearray,
  pickle.EMPTY_LIST: _making(list),
  pickle.EMPTY_DICT: _making(dict),
  pickle.EMPTY_SET: _making(set),
  pickle.TUPLE: _Machine.push_tuple_of_mark,
  pickle.TUPLE1: _with(_Machine.push_tuple, 1),
  pickle.TUPLE2: _with(_Machine.push_tuple, 2),
  pickle.TUPLE3: _with(_Machine.push_tuple, 3),
  pickle.LIST: _Machine.push_list_of_mark,
  pickle.DICT: _Machine.push_dict_of_mark,
  pickle.FROZENSET: _Machine.push_frozenset,
  pickle.APPEND: _Machine.append,
  pickle.APPENDS: _Machine.extend,
  pickle.SETITEM: _Machine.set_item,
  pickle.SETITEMS: _Machine.set_items,
  pickle.ADDITEMS: _Machine.add_items,
  pickle.GLOBAL: _Machine.push_name_of_lines,
  pickle.STACK_GLOBAL: _Machine.push_name,
  pickle.REDUCE: _Machine.call,
  pickle.NEWOBJ: _Machine.make,
  pickle.NEWOBJ_EX: _Machine.make_with_keywords,
  pickle.OBJ: _Machine.make_of_mark,
  pickle.INST: _Machine.make_of_lines,
  pickle.BUILD: _Machine.set_state,
  pickle.PUT: _Machine.note_line,
  pickle.BINPUT: _with(_Machine.note, 1),
  pickle.LONG_BINPUT: _with(_Machine.note, 4),
  pickle.MEMOIZE: _Machine.note_next,
  pickle.GET: _Machine.get_line,
  pickle.BINGET: _with(_Machine.get, 1),
  pickle.LONG_BINGET: _with(_Machine.get, 4),
}
_OPERATIONS = [
  _BY_CODE.get(bytes([code]), _with(_Machine.refuse, code))
  for code in range(256)
]
_STOP, _BINGET, _MEMOIZE, _BININT1 = (
  code[0]
  for code in (pickle.STOP, pickle.BINGET, pickle.MEMOIZE, pickle.BININT1)
)


def _demand_key(key: Any) -> Any:
  """Returns what may be a dict's key: its hash takes no time to speak of."""
  if isinstance(key, (_Array, _DType)):
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


# What is known by the names of functions: each is called with the machine and
# what the file gives.


def _make_dtype(
  machine: _Machine, code: str, align: bool = False, copy: bool = False
) -> _DType | Foreign:
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
  return _DType(dtype)


def _foreign_dtype(machine: _Machine, dtype: Any) -> Foreign:
  text = str(dtype)[:40]
  return machine.foreign(
    f'numpy.ndarray of {text}', f'an array is of the dtype {text}'
  )


def _make_array(
  machine: _Machine, kind: Any, shape: Any, code: Any
) -> _Array | Foreign:
  """Returns the empty array that an array's pickle starts from."""
  if kind != _NDARRAY:
    return machine.foreign(kind, f'an array is of the type {kind}')
  return _Array()


def _set_array(machine: _Machine, target: _Array, state: Any) -> None:
  _, shape, dtype, is_fortran, data = state
  array = _view(data, dtype, shape, 'F' if is_fortran else 'C')
  if isinstance(array, np.ndarray) and not array.dtype.isnative:
    # As numpy does.
    machine.charge(array.nbytes)
    array = array.astype(array.dtype.newbyteorder('='))
  target.array = array


def _view(
  data: Any, dtype: Any, shape: Any, order: str
) -> np.ndarray | Foreign:
  """Returns the array that `data` holds, which is as long as it takes."""
  if isinstance(dtype, Foreign):
    return dtype
  if not isinstance(dtype, _DType):
    raise pickle.UnpicklingError(f'an array is of the dtype {_short(dtype)}')
  if not isinstance(data, (bytes, bytearray)):
    raise pickle.UnpicklingError(f'an array is made of a {type(data)}')
  if not isinstance(shape, tuple) or min(shape, default=0) < 0:
    raise pickle.UnpicklingError(f'an array is of the shape {_short(shape)}')
  array = np.ndarray(shape, dtype.dtype, data, order=order)
  if array.nbytes != len(data):
    raise pickle.UnpicklingError(
      f'an array of {array.nbytes} bytes has {len(data)}'
    )
  return array


def _make_scalar(machine: _Machine, dtype: Any, value: Any) -> Any:
  if isinstance(value, bytes):
    machine.charge(len(value))
  array = _view(value, dtype, (), 'C')
  return array if isinstance(array, Foreign) else array[()]


def _make_array_of_buffer(
  machine: _Machine, buffer: Any, dtype: Any, shape: Any, order: str
) -> _Array:
  return _Array(_view(buffer, dtype, shape, order))


def _make_jax_array(
  machine: _Machine, rebuild: Any, arguments: Any, state: Any, aval: Any
) -> _Array | Foreign:
  """Returns a JAX array, whose pickle is numpy's and its abstract value."""
  if rebuild not in _RECONSTRUCT:
    raise pickle.UnpicklingError(f'a JAX array is rebuilt by {_short(rebuild)}')
  array = _make_array(machine, *arguments)
  if isinstance(array, _Array):
    _set_array(machine, array, state)
  return array


def _refuse_array(machine: _Machine, *arguments: Any) -> None:
  raise pickle.UnpicklingError(
    f'numpy.ndarray is called with {_short(arguments)}'
  )


def _make_bytes(
  machine: _Machine, content: bytes | str = b'', encoding: str = ''
) -> bytes:
  """Returns bytes as pickles of the old protocols hold them."""
  machine.charge(len(content))
  if encoding:
    if encoding not in ('latin1', 'latin-1'):
      raise pickle.UnpicklingError(f'bytes are encoded as {_short(encoding)}')
    return content.encode('latin1')
  if not isinstance(content, (bytes, bytearray)):
    raise pickle.UnpicklingError(f'bytes are made of a {type(content)}')
  return bytes(content)


def _make_bytearray(machine: _Machine, *arguments: Any) -> bytearray:
  return bytearray(_make_bytes(machine, *arguments))


def _make_complex(machine: _Machine, real: float, imag: float) -> complex:
  return complex(float(real), float(imag))


def _make_set(machine: _Machine, items: list[Any] | tuple = ()) -> set[Any]:
  machine.charge_values(len(items))
  return set(map(_demand_key, items))


def _make_frozenset(machine: _Machine, items: Any = ()) -> frozenset[Any]:
  return frozenset(_make_set(machine, items))


def _make_dict(machine: _Machine, items: Any = ()) -> dict[Any, Any]:
  if isinstance(items, dict):
    return items
  machine.charge_values(len(items))
  return {_demand_key(key): value for key, value in items}


def _make_default_dict(
  machine: _Machine, factory: Any = None, items: Any = ()
) -> dict[Any, Any]:
  return _make_dict(machine, items)


_NDARRAY = _Name('numpy', 'ndarray')
_KNOWN: dict[_Name, Callable[..., Any]] = {
  _NDARRAY: _refuse_array,
  _Name('numpy', 'dtype'): _make_dtype,
  _Name('_codecs', 'encode'): _make_bytes,
  _Name('builtins', 'bytearray'): _make_bytearray,
  _Name('builtins', 'bytes'): _make_bytes,
  _Name('builtins', 'complex'): _make_complex,
  _Name('builtins', 'frozenset'): _make_frozenset,
  _Name('builtins', 'set'): _make_set,
  _Name('collections', 'OrderedDict'): _make_dict,
  _Name('collections', 'defaultdict'): _make_default_dict,
  _Name('flax.core.frozen_dict', 'FrozenDict'): _make_dict,
  _Name('jax._src.array', '_reconstruct_array'): _make_jax_array,
}
_RECONSTRUCT = []
# numpy 2 moved its core.
for _core in ('numpy.core', 'numpy._core'):
  _RECONSTRUCT.append(_Name(f'{_core}.multiarray', '_reconstruct'))
  _KNOWN |= {
    _RECONSTRUCT[-1]: _make_array,
    _Name(f'{_core}.multiarray', 'scalar'): _make_scalar,
    _Name(f'{_core}.numeric', '_frombuffer'): _make_array_of_buffer,
  }
# Python 2's name of the built-ins, in the protocols up to 2.
_KNOWN |= {
  _Name('__builtin__', known.name): function
  for known, function in _KNOWN.items()
  if known.module == 'builtins'
}


_CIRCLE = Foreign('a container that holds itself', 'it holds itself')


class _Finish:
  """Puts numpy's own in the place of what stands for them, and measures."""

  def __init__(self, strict: bool, most_values: int, most_bytes: int):
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
    if kind is _Array:
      value = value.array
    if isinstance(value, np.ndarray):
      return value, _Size(bytes=value.nbytes)
    if kind in (set, frozenset):
      return value, _Size(1 + len(value))
    if kind is _DType:
      return value.dtype, _ONE
    if kind is _Name:
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

  def _foreign(self, name: str, reason: str | None = None) -> Foreign:
    reason = reason or f'it holds {name}, which is refused'
    if self._strict:
      raise pickle.UnpicklingError(reason)
    return Foreign(name, reason)


def _short(value: Any) -> str:
  """Returns the beginning of a value as text."""
  if isinstance(value, (list, tuple, dict, set, frozenset)):
    shown = [
      item if isinstance(item, (str, bytes, int, float)) else type(item)
      for item in list(value)[:8]
    ]
    value = type(value)(shown) if isinstance(value, tuple) else shown
  return f'{value!r:.100}'
