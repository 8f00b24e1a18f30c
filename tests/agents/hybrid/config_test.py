"""Tests of config."""

import pytest

from serl.agents import hybrid


@pytest.mark.parametrize(
  'name, value',
  [
    ('penalty', -0.1),
    ('closing', 0.0),
    ('closing', 1.5),
    ('gripper_range', (1.0, 1.0)),
    ('gripper_range', (1.0,)),
    ('closed_from', 0.0),
    ('margin', -0.1),
    ('epsilon', 1.1),
  ],
)
def test_what_makes_no_sense_is_refused(name, value):
  with pytest.raises(ValueError, match=f'HybridConfig.{name} is'):
    hybrid.HybridConfig(**{name: value})
