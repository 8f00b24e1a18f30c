"""Tests of config."""

import pytest

from serl.agents.bc import config as bc_config


@pytest.mark.parametrize(
  'name, value',
  [
    ('batch_size', 0),
    ('learning_rate', 0.0),
    ('weight_decay', -1.0),
    ('average_rate', 0.0),
    ('head', 'mixture'),
    ('min_std', 2.0),
    ('event_fraction', 1.0),
    ('event_fraction', 0.001),  # of 256 rows
    ('event_window', -1),
    ('crop_padding', -1),
    ('max_demonstrations', 0),
  ],
)
def test_a_bad_value_is_named(name, value):
  with pytest.raises(ValueError, match=rf'BCConfig\.{name} is {value!r}, exp'):
    bc_config.BCConfig(**{name: value})
