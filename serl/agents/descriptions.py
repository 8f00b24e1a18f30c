"""Builders made again from what their `describe` returned, by data alone."""

from collections.abc import Callable, Mapping
import dataclasses
import reprlib
import typing
from typing import Any, TypeVar

from serl.agents import builder
from serl.agents import with_tables
from serl.agents.bc import builder as bc_builder
from serl.agents.bc import config as bc_config
from serl.agents.drq import builder as drq_builder
from serl.agents.drq import config as drq_config
from serl.agents.hybrid import builder as hybrid_builder
from serl.agents.hybrid import config as hybrid_config
from serl.agents.rlpd import builder as rlpd_builder
from serl.agents.rlpd import config as rlpd_config
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from serl.agents.vice import builder as vice_builder
from serl.agents.vice import config as vice_config

_Config = TypeVar('_Config')


def make_builder(described: Mapping[str, Any]) -> builder.Builder:
  """Returns the builder that a description is of.

  Args:
    described: what its `describe` returned, as JSON keeps it.

  Raises:
    ValueError: it is of no agent of this package, holds a value that the
      agent's configuration has not, or weights that a file holds.
  """
  try:
    return _make(described)
  except (AttributeError, KeyError, RecursionError, TypeError) as error:
    raise ValueError(
      f'The agent is described by {reprlib.repr(described)}, expected what a '
      f'builder of this package describes ({type(error).__name__}: {error}).'
    ) from error


def _make(described: Mapping[str, Any]) -> builder.Builder:
  name = described['agent']
  if name not in _MAKERS:
    raise ValueError(
      f'The agent is {name!r}, expected one of {", ".join(_MAKERS)}; give the '
      'builder of any other yourself.'
    )
  values = dict(described)
  del values['agent']
  return _MAKERS[name](values)


def _make_drq(values: dict[str, Any]) -> drq_builder.DrQBuilder:
  agent = _make(values.pop('learns_by'))
  config = _make_config(drq_config.DrQConfig, values)
  return drq_builder.DrQBuilder(dataclasses.replace(config, sac=agent.config))


def _around(
  wrap: Callable[..., builder.Builder], config: type[Any]
) -> Callable[[dict[str, Any]], builder.Builder]:
  """Returns what makes a builder around another one."""

  def make(values: dict[str, Any]) -> builder.Builder:
    inner = _make(values.pop('wraps'))
    return wrap(inner, _make_config(config, values))

  return make


def _alone(
  make: Callable[..., builder.Builder], config: type[Any]
) -> Callable[[dict[str, Any]], builder.Builder]:
  return lambda values: make(_make_config(config, values))


def _make_with_tables(values: dict[str, Any]) -> with_tables.WithTables:
  inner = _make(values['wraps'])
  return with_tables.WithTables(
    inner, tuple(map(_make_table, values['tables']))
  )


def _make_table(described: Mapping[str, Any]) -> builder.TableSpec:
  values = dict(described)
  if made_by := values.pop('make_table'):
    raise ValueError(
      f'The table {values.get("name")!r} is made by {made_by!r}, which is not '
      'run: give the builder.'
    )
  sampler = dict(values.pop('sampler'))
  kind = _SAMPLERS[sampler.pop('kind')]
  values['sampler'] = _make_config(kind, sampler)
  return _make_config(builder.TableSpec, values)


_SAMPLERS = {
  kind.__name__: kind for kind in (builder.Uniform, builder.Prioritised)
}
_MAKERS = {
  'sac': _alone(sac_builder.SACBuilder, sac_config.SACConfig),
  'drq': _make_drq,
  'bc': _alone(bc_builder.BCBuilder, bc_config.BCConfig),
  'rlpd': _around(rlpd_builder.RLPDBuilder, rlpd_config.RLPDConfig),
  'vice': _around(vice_builder.VICEBuilder, vice_config.VICEConfig),
  'hybrid': _around(hybrid_builder.HybridBuilder, hybrid_config.HybridConfig),
  'with_tables': _make_with_tables,
}


def _make_config(kind: type[_Config], values: Mapping[str, Any]) -> _Config:
  """Returns a dataclass of plain data, those within it included.

  Raises:
    ValueError: a field is unknown, or its value is refused.
  """
  known = {field.name for field in dataclasses.fields(kind)}
  if unknown := sorted(set(values) - known):
    raise ValueError(
      f'{kind.__name__} has no {", ".join(unknown)}: another version of this '
      'package has described it.'
    )
  if values.get('kind') == 'frozen_resnet10':
    raise ValueError(
      'The encoder is frozen, with the weights of a file that is described by '
      'its SHA-256 alone: give the builder, with EncoderConfig.weights.'
    )
  hints = typing.get_type_hints(kind)
  return kind(
    **{name: _value(hints[name], value) for name, value in values.items()}
  )


def _value(hint: Any, value: Any) -> Any:
  if isinstance(value, (list, tuple)):
    return tuple(_value(Any, each) for each in value)
  kinds = [
    kind
    for kind in (hint, *typing.get_args(hint))
    if dataclasses.is_dataclass(kind)
  ]
  if kinds and isinstance(value, Mapping):
    return _make_config(kinds[0], value)
  return value
