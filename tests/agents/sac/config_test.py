"""Tests of config."""

import re

import pytest

from serl.agents import sac
from serl.agents.sac import config as sac_config
from serl.agents.sac import quirks


@pytest.mark.parametrize(
  'field, value, expected',
  [
    ('batch_size', 0, r'in \[1, 100000\]'),
    ('target_members', 11, 'at most critic_members, 10'),
    ('discount', 1.5, r'in \[0, 1\]'),
    ('target_rate', 0.0, r'in \(0, 1\]'),
    ('initial_temperature', 0.0, r'in \(0, '),
    ('cloning', -1.0, r'in \[0, '),
    ('critic_learning_rate', -1.0, r'in \(0, 1\]'),
    ('warmup_steps', -5, r'in \[0, '),
    ('min_replay_size', 2_000_000, 'to replay_size, 1000000'),
    ('min_std', 6.0, r'in \(0, max_std\]'),
    ('activation', 'sine', "'tanh' or 'relu'"),
    ('actor_objective', 'max', "'mean' or 'min'"),
  ],
)
def test_names_the_offending_value(field, value, expected):
  given = re.escape(f'{field} is {value!r}, ')
  with pytest.raises(ValueError, match=f'{given}.*{expected}'):
    sac_config.SACConfig(**{field: value})


def test_more_targets_than_critics_only_with_replacement():
  config = sac_config.SACConfig(
    critic_members=2,
    target_members=3,
    quirks=quirks.SERLQuirks(draw_with_replacement=True),
  )
  assert config.target_members == 3


def test_a_shared_head_is_behind_a_layer():
  assert sac_config.SACConfig(hidden_sizes=()).hidden_sizes == ()
  with pytest.raises(ValueError, match='or more before a shared_value_hea'):
    sac_config.SACConfig(
      hidden_sizes=(), quirks=quirks.SERLQuirks(shared_value_head=True)
    )


def test_presets():
  assert sac_config.serl() == sac_config.SACConfig()
  cpu = sac_config.cpu()
  assert (cpu.critic_members, cpu.discount, cpu.warmup_steps) == (4, 0.97, 0)
  assert cpu.scale_observations
  assert sac_config.redq().critic_members == 10
  plain = sac.sac()
  assert plain.critic_members == plain.target_members == 2
  assert plain.entropy_in_backup and plain.actor_objective == 'min'
  assert plain.activation == 'relu' and not plain.layer_norm
  assert plain.quirks == quirks.SERLQuirks()


@pytest.mark.parametrize(
  'config, entropy',
  [
    (sac_config.SACConfig(), -3.0),
    (sac.sac(), -6.0),
    (sac.redq(), -3.0),
    (sac_config.SACConfig(target_entropy=-12.0), -12.0),
    (sac_config.SACConfig(target_entropy=0.0), 0.0),
  ],
)
def test_the_entropy_to_keep_of_six_actions(config, entropy):
  assert config.entropy_to_keep(6) == entropy


def test_a_quirk_that_is_none_is_refused():
  with pytest.raises(ValueError, match="actor_batch is 'all', expected 'last'"):
    quirks.SERLQuirks(actor_batch='all')
  with pytest.raises(ValueError, match='shared_value_head is 1, expected True'):
    quirks.SERLQuirks(shared_value_head=1)


@pytest.mark.parametrize('bounds', [(1.0, 1.0), (1.0, 0.0), (0.0,)])
def test_refuses_bounds_that_hold_no_return(bounds):
  with pytest.raises(ValueError, match=r'return_bounds is .*expected'):
    sac_config.SACConfig(return_bounds=bounds)
