"""Checks of configs, made from the annotations of their fields.

A config is a frozen dataclass whose `__post_init__` is, or calls, `check`:

  @dataclasses.dataclass(frozen=True)
  class Config:
    batch_size: configs.Count = 256
    noise: Annotated[float, configs.Bounds(0, 0.5)] = 0.2
    head: Literal['normal', 'tanh_normal'] = 'normal'
    task: OtherConfig | None = None

    __post_init__ = configs.check

A number is finite, of its type and within its bounds; True is no number and
256.0 no whole one. What an annotation takes without loss is stored as the
annotation has it: numpy's scalars as Python's, lists and arrays as tuples.
Rules between fields stay in `__post_init__`, in a call of `demand`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import numbers
import operator
import os
import re
import types
import typing
from typing import Annotated, Any, Literal, NamedTuple
from urllib import parse

import numpy as np

_LARGEST = 10**9  # of a number that has no bounds of its own
_LONGEST = 200  # characters of a value in a message


class Rule(NamedTuple):
  """A condition beside the type, as a part of `typing.Annotated`."""

  holds: Callable[[Any], bool]
  expected: str  # continues the name of the type in a message


class Bounds(NamedTuple):
  """The bounds of a number, as a part of `typing.Annotated`."""

  low: float = -_LARGEST
  high: float = _LARGEST
  ends: str = '[]'  # a round bracket excludes its end

  def holds(self, value: float) -> bool:
    """Returns whether a number is within the bounds; NaN is not."""
    above = value >= self.low if self.ends[0] == '[' else value > self.low
    below = value <= self.high if self.ends[1] == ']' else value < self.high
    return above and below

  @property
  def expected(self) -> str:
    """The bounds in a message."""
    first, last = self.ends
    return f'in {first}{self.low:.12g}, {self.high:.12g}{last}'


def length(least: int, most: int | None = None) -> Rule:
  """Returns the rule that a tuple has `least` entries, or up to `most`."""
  most = least if most is None else most
  allowed = str(least) if least == most else f'{least} to {most}'
  return Rule(lambda value: least <= len(value) <= most, f'of length {allowed}')


def advice(text: str) -> Rule:
  """Returns a rule that always holds, for what a message says to do."""
  return Rule(lambda value: True, text)


def _is_url(url: str) -> bool:
  try:
    parts = parse.urlsplit(url)
    port_exists = parts.port != 0  # raises for one beyond 65535
  except ValueError:
    return False
  is_http = parts.scheme in ('http', 'https')
  return (
    is_http
    and bool(parts.hostname)
    and port_exists
    and not re.search(r'\s', url)
  )


Count = Annotated[int, Bounds(1)]
Few = Annotated[int, Bounds(1, 1000)]
Size = Annotated[int, Bounds(1, 100_000)]  # of a layer or a minibatch
Pixels = Annotated[int, Bounds(1, 10_000)]
Padding = Annotated[int, Bounds(0, 1000)]  # of an image, pixels
NonNegativeInt = Annotated[int, Bounds(0)]
Seed = Annotated[int, Bounds(0, 2**31 - 1)]
Port = Annotated[int, Bounds(1, 65535)]
Positive = Annotated[float, Bounds(0, ends='(]')]
NonNegative = Annotated[float, Bounds(0)]
Fraction = Annotated[float, Bounds(0, 1)]
Seconds = Annotated[float, Bounds(0, 10**8, '(]')]  # up to three years
Part = Annotated[float, Bounds(0, 1, '[)')]
Rate = Annotated[float, Bounds(0, 1, '(]')]  # of learning or of an average
# A name that may become part of a path, of a file or of an array.
Name = Annotated[
  str,
  Rule(
    lambda name: re.fullmatch(r'[A-Za-z0-9_-]+', name) is not None,
    "of letters, digits, '_' and '-'",
  ),
]
# A word in a setting: neither empty nor with spaces around it.
Word = Annotated[
  str,
  Rule(
    lambda word: bool(word) and word == word.strip() and word.isprintable(),
    'that is not empty and has no space at its ends',
  ),
]
Path = Annotated[
  str | os.PathLike,
  Rule(
    lambda path: str(path).strip() != '' and '\0' not in str(path),
    'that names a file or a folder',
  ),
]
Url = Annotated[
  str, Rule(_is_url, "like 'http://HOST:PORT/' with a port of 1 to 65535")
]
Colour = Annotated[tuple[Fraction, ...], length(4)]  # RGBA


def field(default: Any, flag: str | None = None, **metadata: Any) -> Any:
  """Returns a field of a config.

  Args:
    default: its value, which is immutable.
    flag: that sets it on the command line, for messages.
    **metadata: of the field.
  """
  return dataclasses.field(default=default, metadata={'flag': flag, **metadata})


def check(config: Any) -> None:
  """Checks and converts each field of a config by its annotation.

  It is the config's `__post_init__`, or called by it.

  Raises:
    ValueError: with the field, its value and what was expected.
    TypeError: of an annotation no check can be made.
  """
  for name, annotation in _annotations(type(config)).items():
    value = getattr(config, name)
    try:
      converted = _convert(annotation, value)
    except _Refusal as refusal:
      raise ValueError(f'{_label(config, name)}{refusal}') from None
    except TypeError as error:
      raise TypeError(f'{_label(config, name)}: {error}') from error
    if converted is not value:
      object.__setattr__(config, name, converted)


def demand(config: Any, *rules: tuple[str, bool, str]) -> None:
  """Checks what no annotation says, such as a rule between two fields.

  Args:
    config: that `check` has passed.
    *rules: each the name of the field that may break it, with dots one within
      it, whether it holds, and what is expected of the field.

  Raises:
    ValueError: one does not hold.
  """
  for name, holds, expected in rules:
    if not holds:
      refusal = _Refusal(operator.attrgetter(name)(config), expected)
      raise ValueError(f'{_label(config, name)}{refusal}')


def check_value(name: str, value: Any, annotation: Any) -> Any:
  """Returns a value that is no field of a config as its annotation has it.

  Raises:
    ValueError: the annotation does not take it.
  """
  try:
    return _convert(annotation, value)
  except _Refusal as refusal:
    raise ValueError(f'{name}{refusal}') from None


class _Refusal(Exception):
  """A value that an annotation does not take; `path` leads to it."""

  def __init__(self, value: Any, expected: str, path: str = ''):
    shown = ' '.join(repr(value).split())
    if len(shown) > _LONGEST:
      shown = f'{shown[:_LONGEST]}...'
    super().__init__(f'{path} is {shown}, expected {expected}.')
    self.value, self.expected, self.path = value, expected, path


@functools.cache
def _annotations(config: type) -> dict[str, Any]:
  hints = typing.get_type_hints(config, include_extras=True)
  return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def _label(config: Any, name: str) -> str:
  named = {field.name: field for field in dataclasses.fields(config)}
  flag = named[name.partition('.')[0]].metadata.get('flag')
  return f'{type(config).__name__}.{name}' + (f' ({flag})' if flag else '')


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
  """Returns the type of an annotation and its rules."""
  rules = ()
  while typing.get_origin(hint) is Annotated:
    hint, *more = typing.get_args(hint)
    rules = (*more, *rules)
  if hint in (int, float) and not any(isinstance(r, Bounds) for r in rules):
    rules = (Bounds(), *rules)
  if hint is Any and not rules:
    raise TypeError('no check can be made of Any; expected a Rule beside it')
  return hint, rules


def _convert(hint: Any, value: Any, path: str = '') -> Any:
  """Returns a value as an annotation has it.

  Raises:
    _Refusal: it does not take the value.
    TypeError: no check can be made of it.
  """
  kind, rules = _split(hint)
  try:
    converted = _convert_type(kind, value)
  except _Refusal as refusal:  # of one of its entries
    raise _Refusal(
      refusal.value, refusal.expected, path + refusal.path
    ) from None
  is_taken = converted is not NotImplemented
  if not is_taken or not all(rule.holds(converted) for rule in rules):
    raise _Refusal(value, _describe(hint), path)
  return converted


def _convert_type(kind: Any, value: Any) -> Any:
  """Returns a value as a type has it; NotImplemented if it does not take it."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if kind in _SCALARS:
    return _convert_scalar(kind, value)
  if origin in (typing.Union, types.UnionType):
    return _convert_union(arguments, value)
  if origin is tuple:
    return _convert_tuple(arguments, value)
  if origin is Literal:
    taken = any(type(value) is type(x) and value == x for x in arguments)
  elif origin is Sequence:
    taken = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    for index, entry in enumerate(value if taken else ()):
      _convert(arguments[0], entry, f'[{index}]')
  elif origin is Mapping:
    taken = isinstance(value, Mapping)
    for key, entry in value.items() if taken else ():
      _convert(arguments[0], key, f', the key {key!r},')
      _convert(arguments[1], entry, f'[{key!r}]')
  elif origin is Callable:
    taken = callable(value)
  elif kind is Any or (isinstance(kind, type) and origin is None):
    taken = kind is Any or isinstance(value, kind)
  else:
    raise TypeError(
      f'no check can be made of {kind!r}; expected int, float, bool, str, a '
      'class, Literal, tuple, Sequence, Mapping, Callable, Any or a union'
    )
  return value if taken else NotImplemented


def _convert_scalar(kind: type, value: Any) -> Any:
  if type(value) is kind:
    return value
  is_bool = isinstance(value, (bool, np.bool_))
  if not isinstance(value, _SCALARS[kind][0]) or is_bool != (kind is bool):
    return NotImplemented
  try:
    return kind(value)
  except OverflowError:
    return NotImplemented


def _convert_union(choices: tuple[Any, ...], value: Any) -> Any:
  nested = None
  for choice in choices:
    try:
      return _convert(choice, value)
    except _Refusal as refusal:
      nested = refusal if refusal.path else nested
  if nested is not None:  # of an entry, which says more
    raise nested
  return NotImplemented


def _convert_tuple(entries: tuple[Any, ...], value: Any) -> Any:
  is_array = isinstance(value, np.ndarray) and value.ndim > 0
  if not is_array and not isinstance(value, (tuple, list)):
    return NotImplemented
  if entries[-1] is ...:
    entries = entries[:1] * len(value)
  if len(entries) != len(value):
    return NotImplemented
  converted = tuple(
    _convert(hint, entry, f'[{index}]')
    for index, (hint, entry) in enumerate(zip(entries, value))
  )
  is_same = type(value) is tuple and all(map(operator.is_, converted, value))
  return value if is_same else converted


def _describe(hint: Any) -> str:
  """Returns what an annotation takes, for a message."""
  kind, rules = _split(hint)
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if kind in _SCALARS:
    expected = _SCALARS[kind][1]
  elif origin is Literal:
    expected = ' or '.join(map(repr, arguments))
  elif origin is Callable:
    expected = 'a function'
  elif origin in (typing.Union, types.UnionType):
    expected = ' or '.join(map(_describe, arguments))
  elif kind is Any:
    expected = 'a value'
  elif origin is None:
    expected = 'None' if kind is type(None) else kind.__name__
  else:  # a tuple, a Sequence or a Mapping
    each = 'each ' if origin is Sequence or arguments[-1] is ... else ''
    within = ', '.join(_describe(x) for x in arguments if x is not ...)
    expected = f'a {origin.__name__.lower()} ({each}{within})'
  return ' '.join([expected, *(rule.expected for rule in rules)])


# By type: what it takes without loss, and its name.
_SCALARS = {
  bool: ((bool, np.bool_), 'True or False'),
  int: (numbers.Integral, 'a whole number'),
  float: (numbers.Real, 'a number'),
  str: (str, 'a string'),
}
