"""Builders made again from their descriptions."""

import dataclasses
import json
import pathlib
import re

import pytest

from serl.agents import bc
from serl.agents import builder
from serl.agents import descriptions
from serl.agents import drq
from serl.agents import hybrid
from serl.agents import rlpd
from serl.agents import sac
from serl.agents import vice
from serl.agents import with_tables
from serl.networks import encoders


def _table(**changes):
  return builder.TableSpec('replay', 1000, 10, n_step=3, **changes)


_SAC = sac.SACBuilder(
  dataclasses.replace(
    sac.cpu(), hidden_sizes=(8, 16, 8), return_bounds=(0.0, 1.0)
  )
)
_DRQ = drq.DrQBuilder(drq.cpu())
_HYBRID = hybrid.HybridBuilder(
  _SAC, hybrid.HybridConfig(gripper_range=(0.08, 0.0))
)
_BUILDERS = {
  'sac': _SAC,
  'redq': sac.SACBuilder(sac.redq()),
  'drq': _DRQ,
  'rlpd': rlpd.RLPDBuilder(_SAC),
  'bc': bc.BCBuilder(bc.cpu(7, images=True)),
  'hybrid': _HYBRID,
  'rlpd_hybrid': rlpd.RLPDBuilder(_HYBRID),
  'vice': vice.VICEBuilder(rlpd.RLPDBuilder(_DRQ), vice.cpu()),
  'with_tables': with_tables.WithTables(_SAC, (_table(),)),
  'rlpd_prioritised': rlpd.RLPDBuilder(
    with_tables.WithTables(_SAC, (_table(sampler=builder.Prioritised(0.7)),))
  ),
}


def _described(builder):
  return json.loads(json.dumps(builder.describe()))


@pytest.mark.parametrize('name', _BUILDERS)
def test_a_builder_is_what_it_was(name):
  made = descriptions.make_builder(_described(_BUILDERS[name]))
  assert made == _BUILDERS[name]
  assert made.describe() == _BUILDERS[name].describe()


def _changed(**changes):
  return {**_described(_SAC), **changes}


def _with_table(**changes):
  described = _described(with_tables.WithTables(_SAC, (_table(),)))
  described['tables'][0].update(changes)
  return described


def _nested(depth):
  described = _described(_SAC)
  for _ in range(depth):
    described = {**_described(rlpd.RLPDBuilder(_SAC)), 'wraps': described}
  return described


@pytest.mark.parametrize(
  'described, expected',
  [
    ({'agent': 'os.system'}, "'os.system', expected one of sac, drq, bc"),
    ({'agent': ['sac']}, 'expected what a builder'),
    ({}, 'expected what a builder'),
    ({'agent': 'rlpd'}, 'expected what a builder'),
    ({**_described(rlpd.RLPDBuilder(_SAC)), 'wraps': 'sac'}, 'expected what a'),
    (_changed(speed=3), 'SACConfig has no speed: another version'),
    (_changed(discount=7.0), 'discount is 7.0'),
    (_nested(5000), 'expected what a builder'),
    (_with_table(sampler={'kind': 'object'}), 'expected what a builder'),
    (_with_table(make_table='os.system'), "'os.system', which is not run"),
    (_with_table(n_step=-1), 'TableSpec.n_step is -1'),
    (_with_table(speed=3), 'TableSpec has no speed'),
    (
      {
        **_described(_DRQ),
        'encoder': {'kind': 'frozen_resnet10', 'weights': 'ab' * 32},
      },
      'give the builder, with EncoderConfig.weights',
    ),
  ],
)
def test_another_description_is_refused(described, expected):
  with pytest.raises(ValueError, match=r'^The |Config|TableSpec') as raised:
    descriptions.make_builder(described)
  assert expected in str(raised.value)
  assert len(str(raised.value)) < 1000


def test_every_agent_of_the_package_is_known():
  folder = pathlib.Path(descriptions.__file__).parent
  sources = [path.read_text() for path in folder.rglob('*.py')]
  names = re.findall(r"'agent': '(\w+)'", '\n'.join(sources))
  assert set(names) == set(descriptions._MAKERS)
  assert set(names) <= set(_BUILDERS)
  assert 'frozen_resnet10' in encoders.KINDS  # which is refused by its name
