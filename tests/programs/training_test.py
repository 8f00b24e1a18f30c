"""Where an actor's steps go."""

import dataclasses

import numpy as np

from serl.programs import training
from serl.testing import fakes
from tests.programs.distributed import fake_run

_BY_PERSON = np.uint8((0, 1, 1, 0, 0, 0, 0, 0, 0, 0))


def _destinations(config, **extras):
  episode = fakes.make_episode(fake_run.SPEC)._replace(extras=extras)
  found = training.destinations(config, episode)
  return {name: chosen.astype(int).tolist() for name, chosen in found.items()}


def test_what_a_person_did_is_a_demonstration_too(tmp_path):
  config = fake_run.make_config(tmp_path)
  assert _destinations(config, intervened=_BY_PERSON) == {
    'replay': [1] * 10,
    'demonstrations': _BY_PERSON.tolist(),
  }


def test_what_the_policy_did_is_none(tmp_path):
  config = fake_run.make_config(tmp_path)
  assert _destinations(config) == {'replay': [1] * 10}


def test_agents_without_demonstrations_have_one_table(tmp_path):
  config = fake_run.make_config(tmp_path)
  config = dataclasses.replace(config, builder=config.builder.builder)
  assert _destinations(config, intervened=_BY_PERSON) == {'replay': [1] * 10}
