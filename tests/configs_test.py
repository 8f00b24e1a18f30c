"""Tests of configs: every field of every config refuses what is none of its.

The configs are found in the files that we ship: a public frozen dataclass is
one, unless it is among `OTHERS`.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import fractions
import importlib
import json
import math
import pathlib
import typing
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from serl import configs
from serl.agents import sac
from serl.environments.franka import config as franka_config
from serl.environments.franka.tasks import peg_insert
from serl.environments.sim import insertion
from serl.programs import config as run_config
from serl.programs import refusals

ROOT = pathlib.Path(__file__).parents[1]

# Frozen dataclasses that configure nothing: networks, results, columns, names
# in pickles.
OTHERS = (
  'BCNetworks',
  'ClassifierNetworks',
  'Column',
  'Episode',
  'HybridNetworks',
  'Name',
  'Report',
  'SACNetworks',
  'Summary',
  'VICENetworks',
)

# Where infinity is no bound.
MAY_BE_INFINITE = (
  'Config.force_limit',
  'Config.torque_limit',
  'Impedance.rotational_clip',
  'Impedance.rotational_clip_negative',
  'Impedance.translational_clip',
  'Impedance.translational_clip_negative',
)

MAY_BE_NEGATIVE = (
  'Axis.sign',
  'BCConfig.gripper',
  'Config.block_high',
  'Config.block_low',
  'Config.gripper_range',
  'Config.inner_high',
  'Config.inner_low',
  'Config.pose_high',
  'Config.pose_low',
  'Config.reset',
  'Config.reset_joints',
  'Config.target',
  'Config.workspace_high',
  'Config.workspace_low',
  'HybridConfig.closing',
  'HybridConfig.gripper_range',
  'RunConfig.stop_at_return',
  'SACConfig.entropy_per_action',
  'SACConfig.return_bounds',
  'SACConfig.target_entropy',
  'VICEConfig.lowest_reward',
)

_RUN = run_config.RunConfig(
  make_environment=insertion.make, builder=sac.SACBuilder()
)
# What fields without a default are made with.
REQUIRED = {
  **{
    name: getattr(peg_insert.STATE, name)
    for name in (
      'action_scale',
      'compliance',
      'pose_high',
      'pose_low',
      'reset',
      'target',
    )
  },
  'agent': sac.SACBuilder(),
  'asked': 1.0,
  'batch_size': 8,
  'builder': sac.SACBuilder(),
  'clearance': 0.001,
  'depth': 0.03,
  'expert': insertion.make,
  'floor_gap': 0.002,
  'make': insertion.make,
  'make_environment': insertion.make,
  'max_size': 10,
  'min_size': 1,
  'name': 'wrist',
  'number': 1,
  'part': insertion.SQUARE_PEG,
  'path': 'classifier',
  'reach': 0.05,
  'run_dir': 'runs/all',
  'runs': {'one': _RUN},
  'scene': insertion.PEG,
  'serial': '0123',
  'size': (0.02, 0.02, 0.06),
  'start_step': 0,
  'tables': sac.SACBuilder().make_tables(),
  'task': peg_insert.STATE,
  'updates_per_round': 1,
}


def _find() -> Iterator[tuple[str, str]]:
  """Yields the module and the name of each config."""
  for file in sorted((ROOT / 'serl').rglob('*.py')):
    module = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
    for node in ast.walk(ast.parse(file.read_text())):
      if not isinstance(node, ast.ClassDef) or node.name.startswith('_'):
        continue
      decorators = ' '.join(map(ast.unparse, node.decorator_list))
      if 'frozen=True' in decorators and node.name not in OTHERS:
        yield module, node.name


CONFIGS = sorted(_find())


def _load(module: str, name: str) -> type:
  if module.startswith('serl.programs.distributed'):
    pytest.importorskip('launchpad', reason='the extra [launch] is missing')
  return getattr(importlib.import_module(module), name)


def _make(config: type, /, **fields: Any) -> Any:
  required = {
    field.name: REQUIRED[field.name]
    for field in dataclasses.fields(config)
    if field.default is field.default_factory is dataclasses.MISSING
  }
  return config(**{**required, **fields})


def _is_optional(hint: Any) -> bool:
  return type(None) in typing.get_args(hint)


def _plain(hint: Any) -> Any:
  """Returns an annotation without its rules and without None."""
  while typing.get_origin(hint) is Annotated:
    hint = typing.get_args(hint)[0]
  if not _is_optional(hint):
    return hint
  first, *others = (x for x in typing.get_args(hint) if x is not type(None))
  return hint if others else _plain(first)


def _wrong(hint: Any, where: str, value: Any) -> list[Any]:
  """Returns what a field never takes, whatever its bounds are.

  Args:
    hint: its annotation, of which the bounds are not looked at.
    where: its name.
    value: that it takes.
  """
  kind = _plain(hint)
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  wrong = [object(), math.nan, *([] if _is_optional(hint) else [None])]
  if kind in (int, float):
    wrong += [10**400, True, np.True_, '3', 1j, [1], np.ones(2)]
    wrong += [] if where in MAY_BE_INFINITE else [math.inf, 1e12, 10**12]
    wrong += [] if where in MAY_BE_NEGATIVE else [-1, -math.inf]
    if kind is int:
      return [*wrong, 0.5, 256.0, np.float32(8), fractions.Fraction(1, 2)]
    return wrong
  if kind is bool:
    return [*wrong, 1, 0, 'True', '', []]
  if kind is str:
    return [*wrong, 3, b'text', ['a'], True]
  if origin is Literal:
    return [*wrong, 'no such choice', '', 7, True, ['a']]
  if origin is tuple:
    wrong += [3, 'text', {1, 2}, {1: 2}]
    each = _wrong(arguments[0], where, None)
    length = len(value) if value else 1
    wrong += [(x, *(value or ())[1:length]) for x in each]
    has_rules = typing.get_origin(hint) is Annotated or arguments[-1] is not ...
    return wrong + ([tuple(value) * 300] if has_rules and value else [])
  if origin in (Mapping, Sequence, Callable):
    return [*wrong, 3, 'text', {1: 2}]
  return [*wrong, 3, True, {1: 2}]


def test_the_configs_are_found():
  names = [name for _, name in CONFIGS]
  assert len(names) > 25
  assert {'SACConfig', 'RunConfig', 'Placement', 'Compliance'} <= set(names)


@pytest.mark.parametrize(
  'module, name', CONFIGS, ids=['.'.join(x) for x in CONFIGS]
)
def test_every_field_refuses_what_is_wrong(module, name):
  config = _load(module, name)
  made = _make(config)
  hints = typing.get_type_hints(config, include_extras=True)
  for field in dataclasses.fields(config):
    where = f'{name}.{field.name}'
    value = getattr(made, field.name)
    for wrong in _wrong(hints[field.name], where, value):
      try:
        _make(config, **{field.name: wrong})
      except ValueError as error:
        assert str(error).startswith(where), (wrong, str(error))
        assert '\n' not in str(error)
        assert ' is ' in str(error) and ', expected ' in str(error)
        assert refusals.is_refusal(error)
      else:
        pytest.fail(f'{where} took {wrong!r}')


@dataclasses.dataclass(frozen=True)
class _Config:
  size: configs.Size = configs.field(8, flag='--size')
  rate: float = 0.5
  widths: tuple[configs.Size, ...] = ()
  pair: tuple[int, float] | None = None
  name: configs.Word = 'name'
  path: configs.Path | None = None
  inner: franka_config.CameraConfig | None = None

  __post_init__ = configs.check


def test_what_loses_nothing_is_stored_as_the_annotation_has_it():
  made = _Config(
    size=np.int64(4),
    rate=1,
    widths=np.array([16, 32]),
    pair=[np.uint8(3), np.float32(0.25)],
    name=np.str_('other'),
  )

  assert made == _Config(4, 1.0, (16, 32), (3, 0.25), 'other')
  stored = (made.size, made.rate, *made.widths, *made.pair, made.name)
  kinds = (int, float, int, int, int, float, str)
  assert tuple(map(type, stored)) == kinds
  assert type(made.widths) is type(made.pair) is tuple
  assert hash(made) == hash(_Config(4, 1.0, (16, 32), (3, 0.25), 'other'))


def test_what_is_right_stays_the_same_object():
  widths, path = (16, 32), pathlib.Path('data')
  made = _Config(widths=widths, path=path)
  assert made.widths is widths
  assert made.path is path


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'size': 0}, '_Config.size (--size) is 0, expected a whole number in [1'),
    ({'size': 256.0}, 'is 256.0, expected a whole number'),
    ({'rate': 10**400}, 'expected a number in [-1000000000, 1000000000].'),
    ({'widths': (16, 0.5)}, '_Config.widths[1] is 0.5, expected a whole'),
    ({'pair': (1, 'x')}, "_Config.pair[1] is 'x', expected a number"),
    ({'pair': (1,)}, 'is (1,), expected a tuple (a whole number in'),
    ({'name': ' a'}, "is ' a', expected a string that is not empty"),
    ({'path': ''}, "is '', expected a string or PathLike that names a file"),
    ({'path': 'a\0b'}, 'expected a string or PathLike that names a file'),
    ({'inner': 3}, 'inner is 3, expected CameraConfig or None.'),
    ({'widths': 'x' * 999}, f"is '{'x' * 199}..., expected a tuple (each a"),
  ],
)
def test_a_refusal_says_what_is_wrong_and_what_is_right(fields, message):
  with pytest.raises(ValueError) as refused:
    _Config(**fields)
  assert message in str(refused.value)


def test_rules_between_fields_name_what_is_within():
  with pytest.raises(ValueError) as refused:
    configs.demand(
      _Config(inner=franka_config.CameraConfig('front', '1')),
      ('size', True, 'nothing'),
      ('inner.serial', False, 'another one'),
    )
  assert str(refused.value) == (
    "_Config.inner.serial is '1', expected another one."
  )


def test_a_value_that_is_no_field_is_checked_as_one():
  assert configs.check_value('port', np.int32(80), configs.Port) == 80
  with pytest.raises(ValueError, match=r'^port is 0, expected a whole number'):
    configs.check_value('port', 0, configs.Port)


@pytest.mark.parametrize(
  'url', ['http://10.0.0.5:5000/', 'https://arm.lab/robot', 'http://[::1]:80']
)
def test_addresses_of_servers(url):
  assert configs.check_value('url', url, configs.Url) == url


@pytest.mark.parametrize(
  'url',
  [
    '',
    '127.0.0.1:5000',
    'localhost',
    '//host:5000/',
    'ftp://host/',
    'http://',
    'http://:5000/',
    'http://host:0/',
    'http://host:65536/',
    'http://host:port/',
    'http://a host/',
    'http://host/\n',
    'http://[::1/',
  ],
)
def test_what_is_no_address_of_a_server_is_refused(url):
  with pytest.raises(ValueError, match=r'like .http://HOST:PORT/'):
    configs.check_value('url', url, configs.Url)


@pytest.mark.parametrize('hint', [Any, set[int]])
def test_an_annotation_of_which_no_check_is_made_is_an_error(hint):
  made = dataclasses.make_dataclass('Made', [('field', hint)], frozen=True)
  with pytest.raises(TypeError, match=r'Made\.field: no check can be made'):
    configs.check(made({1}))


def test_equal_values_describe_the_same_run():
  one = sac.SACConfig(
    hidden_sizes=[256, 256], discount=1, batch_size=np.int8(8)
  )
  other = sac.SACConfig(hidden_sizes=(256, 256), discount=1.0, batch_size=8)
  described = [json.dumps(sac.SACBuilder(x).describe()) for x in (one, other)]
  assert described[0] == described[1]
