"""The stack machine that does the operations of a pickle, and their table."""

from collections.abc import Callable
import pickle
import struct
from typing import Any

from serl.utils.restricted_pickle import known
from serl.utils.restricted_pickle import source as source_lib
from serl.utils.restricted_pickle import values as values_lib

# Python's pickles take up to 0.65 operations and 0.17 containers a byte, with
# nothing but empty ones in them.
_FREE_OPERATIONS, _OPERATIONS_PER_BYTE = 20_000, 0.8
_FREE_CONTAINERS, _CONTAINERS_PER_BYTE = 10_000, 0.2
# Of operations that leave nothing, which only containers that hold themselves
# take.
_MAX_WASTED = 1000
# Pickles put items into their containers by the thousand.
_MAX_STACK = 100_000
_MAX_LINE = 1024  # characters of a number or a name, bytes of an integer


class Machine:
  """Does the operations of the pickles of a file, on a stack of values."""

  def __init__(self, source: source_lib.Source, strict: bool):
    """Initialises the machine.

    Args:
      source: of the operations.
      strict: whether to refuse what is no plain data.
    """
    self._source = source
    self._strict = strict
    self._operations = self._containers = self._wasted = 0
    self._copied = 0  # bytes
    self._begin()

  def _begin(self) -> None:
    self._stack: list[Any] = []
    self._marks: list[int] = []  # how high the stack was at each mark
    self._memo: list[Any] = []

  def run(self) -> Any:
    """Returns the value that the next pickle leaves, with its placeholders."""
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
    return stack.pop()

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

  def foreign(self, name: Any, reason: str | None = None) -> values_lib.Foreign:
    """Returns what stands for something that is no plain data."""
    if isinstance(name, values_lib.Foreign):
      name = name.name
    reason = reason or f'it asks for {name}, which is refused'
    if self._strict:
      raise pickle.UnpicklingError(reason)
    return values_lib.Foreign(str(name)[:100], reason)

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
      raise pickle.UnpicklingError(
        f'a text is written {values_lib.short(line)}'
      )
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
    self.push_container(frozenset(map(values_lib.demand_key, self.pop_mark())))

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
    demand_key = values_lib.demand_key
    for key, value in zip(items[::2], items[1::2], strict=True):
      target[demand_key(key)] = value

  def add_items(self) -> None:
    items = self.pop_mark()
    if isinstance(self._stack[-1], set):
      self._stack[-1].update(map(values_lib.demand_key, items))
    else:
      self._demand_foreign('adds items to')

  def _demand_foreign(self, verb: str) -> None:
    """Refuses to change anything but what is not made in any case."""
    if not isinstance(self._stack[-1], values_lib.Foreign):
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
    found = values_lib.Name(module, name)
    if found in known.KNOWN:
      self.push(found)
    else:
      self.push_foreign(found)

  def call(self) -> None:
    """Rebuilds what is known by the name of its function."""
    arguments, function = self._stack.pop(), self._stack.pop()
    if not isinstance(arguments, tuple):
      raise pickle.UnpicklingError('a function is called without a tuple')
    if isinstance(function, values_lib.Foreign):
      self.push_foreign(function)
    elif isinstance(function, values_lib.Name):
      self.push_container(known.KNOWN[function](self, *arguments))
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
    self.push_foreign(values_lib.Name(module, name))

  def set_state(self) -> None:
    state, target = self._stack.pop(), self._stack[-1]
    if isinstance(target, values_lib.DType):
      target.set_state(state)
    elif isinstance(target, values_lib.Array):
      known.set_array(self, target, state)
    elif not isinstance(target, values_lib.Foreign):
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


def _pushing(value: Any) -> Callable[[Machine], None]:
  return lambda machine: machine.push(value)


def _with(operation: Callable[..., None], argument: Any):
  return lambda machine: operation(machine, argument)


def _making(kind: type) -> Callable[[Machine], None]:
  return lambda machine: machine.push_container(kind())


# Persistent ids, extensions, copies of the last value and buffers outside of
# the file are no part of the data that this is for.
_BY_CODE = {
  pickle.PROTO: _with(Machine.skip, 1),
  pickle.FRAME: _with(Machine.skip, 8),
  pickle.MARK: Machine.mark,
  pickle.POP: Machine.discard,
  pickle.POP_MARK: Machine.discard_mark,
  pickle.NONE: _pushing(None),
  pickle.NEWTRUE: _pushing(True),
  pickle.NEWFALSE: _pushing(False),
  pickle.EMPTY_TUPLE: _pushing(()),
  pickle.INT: Machine.push_number_line,
  pickle.LONG: Machine.push_number_line,
  pickle.FLOAT: Machine.push_float_line,
  pickle.BININT: _with(Machine.push_binary, struct.Struct('<i')),
  pickle.BININT1: Machine.push_byte,
  pickle.BININT2: _with(Machine.push_binary, struct.Struct('<H')),
  pickle.BINFLOAT: _with(Machine.push_binary, struct.Struct('>d')),
  pickle.LONG1: _with(Machine.push_long, 1),
  pickle.LONG4: _with(Machine.push_long, 4),
  pickle.STRING: Machine.push_quoted_line,
  pickle.UNICODE: Machine.push_text_line,
  pickle.SHORT_BINSTRING: _with(Machine.push_ascii, 1),
  pickle.BINSTRING: _with(Machine.push_ascii, 4),
  pickle.SHORT_BINUNICODE: _with(Machine.push_text, 1),
  pickle.BINUNICODE: _with(Machine.push_text, 4),
  pickle.BINUNICODE8: _with(Machine.push_text, 8),
  pickle.SHORT_BINBYTES: _with(Machine.push_bytes, 1),
  pickle.BINBYTES: _with(Machine.push_bytes, 4),
  pickle.BINBYTES8: _with(Machine.push_bytes, 8),
  pickle.BYTEARRAY8: Machine.push_bytearray,
  pickle.EMPTY_LIST: _making(list),
  pickle.EMPTY_DICT: _making(dict),
  pickle.EMPTY_SET: _making(set),
  pickle.TUPLE: Machine.push_tuple_of_mark,
  pickle.TUPLE1: _with(Machine.push_tuple, 1),
  pickle.TUPLE2: _with(Machine.push_tuple, 2),
  pickle.TUPLE3: _with(Machine.push_tuple, 3),
  pickle.LIST: Machine.push_list_of_mark,
  pickle.DICT: Machine.push_dict_of_mark,
  pickle.FROZENSET: Machine.push_frozenset,
  pickle.APPEND: Machine.append,
  pickle.APPENDS: Machine.extend,
  pickle.SETITEM: Machine.set_item,
  pickle.SETITEMS: Machine.set_items,
  pickle.ADDITEMS: Machine.add_items,
  pickle.GLOBAL: Machine.push_name_of_lines,
  pickle.STACK_GLOBAL: Machine.push_name,
  pickle.REDUCE: Machine.call,
  pickle.NEWOBJ: Machine.make,
  pickle.NEWOBJ_EX: Machine.make_with_keywords,
  pickle.OBJ: Machine.make_of_mark,
  pickle.INST: Machine.make_of_lines,
  pickle.BUILD: Machine.set_state,
  pickle.PUT: Machine.note_line,
  pickle.BINPUT: _with(Machine.note, 1),
  pickle.LONG_BINPUT: _with(Machine.note, 4),
  pickle.MEMOIZE: Machine.note_next,
  pickle.GET: Machine.get_line,
  pickle.BINGET: _with(Machine.get, 1),
  pickle.LONG_BINGET: _with(Machine.get, 4),
}
_OPERATIONS = [
  _BY_CODE.get(bytes([code]), _with(Machine.refuse, code))
  for code in range(256)
]
_STOP, _BINGET, _MEMOIZE, _BININT1 = (
  code[0]
  for code in (pickle.STOP, pickle.BINGET, pickle.MEMOIZE, pickle.BININT1)
)
