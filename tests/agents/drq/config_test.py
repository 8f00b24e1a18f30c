"""Tests of config."""

import pytest

from serl.agents import drq


def test_serls_recipe_for_images():
  config = drq.serl()
  assert config.crop_padding == 4
  sac = config.sac
  assert (sac.batch_size, sac.updates_per_round) == (256, 4)
  assert (sac.discount, sac.warmup_steps, sac.replay_size) == (0.96, 0, 200_000)


def test_negative_padding_is_refused():
  with pytest.raises(ValueError, match='crop_padding is -1'):
    drq.DrQConfig(crop_padding=-1)
