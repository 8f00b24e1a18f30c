"""Tests of builder."""

import json

import pytest

from serl.agents.rlpd import builder as rlpd_builder
from serl.agents.rlpd import config as rlpd_config
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config


def _wrap(batch_size=8, **fields):
  inner = sac_builder.SACBuilder(sac_config.SACConfig(batch_size=batch_size))
  return rlpd_builder.RLPDBuilder(inner, rlpd_config.RLPDConfig(**fields))


def test_half_of_a_minibatch_is_demonstrations():
  online, demonstrations = _wrap().make_tables()
  assert (online.source, online.fraction) == ('online', 0.5)
  assert demonstrations.name == demonstrations.source == 'demonstrations'
  assert demonstrations.fraction == 0.5


def test_fractions_are_rescaled():
  other = rlpd_config.RLPDConfig(source='scripted')
  twice = rlpd_builder.RLPDBuilder(_wrap(), other)
  assert [t.fraction for t in twice.make_tables()] == [0.25, 0.25, 0.5]
  quarter = _wrap(demonstration_fraction=0.25).make_tables()
  assert [t.fraction for t in quarter] == [0.75, 0.25]


def test_refuses_rows_that_are_no_whole_number():
  with pytest.raises(ValueError, match=r'batch_size 8 .* fraction 0.3 .*2\.4'):
    _wrap(demonstration_fraction=0.3)
  with pytest.raises(ValueError, match=r'batch_size 7 .* fraction 0.5 .*3\.5'):
    _wrap(batch_size=7)
  # 10 * 0.3 is 3.0000000000000004 or so in floats: whole all the same.
  assert _wrap(batch_size=10, demonstration_fraction=0.3)


@pytest.mark.parametrize('fraction', [0.0, 1.0, -0.5])
def test_refuses_a_fraction_outside_of_0_to_1(fraction):
  with pytest.raises(ValueError, match=f'demonstration_fraction is {fraction}'):
    _wrap(demonstration_fraction=fraction)


def test_all_else_is_the_wrapped_builders(spec):
  wrapped = _wrap()
  inner = wrapped.builder
  assert wrapped.batch_spec() == inner.batch_spec()
  networks = wrapped.make_networks(spec)
  assert networks.action_size == 2
  assert callable(wrapped.make_algorithm(networks).update)
  assert callable(wrapped.make_policy(networks, evaluation=True))
  described = wrapped.describe()
  assert described['wraps'] == inner.describe()
  assert json.loads(json.dumps(described)) == described
