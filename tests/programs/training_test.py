"""Where an actor's steps go."""

import dataclasses
import sys

import numpy as np
import pytest

from serl.agents import builder as builder_lib
from serl.agents import sac
from serl.agents import with_tables
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


def _config(tmp_path, *tables, **fields):
  """Returns a run whose agent draws 8 rows from the given tables."""
  config = fake_run.make_config(tmp_path)
  agent = sac.SACBuilder(sac.SACConfig(batch_size=8, updates_per_round=2))
  return dataclasses.replace(
    config, builder=with_tables.WithTables(agent, tables), **fields
  )


def _table(name, fraction, source='online', max_size=100, **fields):
  return builder_lib.TableSpec(name, max_size, 20, fraction, source, **fields)


def test_demonstrations_of_several_names_fill_their_own_tables(tmp_path):
  good, poor = (fakes.make_episode(fake_run.SPEC, seed=s) for s in (1, 2))
  config = _config(
    tmp_path,
    _table('replay', 0.5),
    _table('best', 0.25, 'good'),
    _table('rest', 0.125, 'poor', takes_interventions=False),
    _table('again', 0.125, 'good'),
    demonstrations={'good': [good], 'poor': [poor, poor]},
  )
  found = [
    (names, [episode.reward.tolist() for episode in episodes])
    for names, episodes in training.recorded(config, fake_run.SPEC)
  ]
  assert found == [
    (['best', 'again'], [good.reward.tolist()]),
    (['rest'], 2 * [poor.reward.tolist()]),
  ]
  assert _destinations(config, intervened=_BY_PERSON) == {
    'replay': [1] * 10,
    'best': _BY_PERSON.tolist(),
    'again': _BY_PERSON.tolist(),
  }


def test_a_table_bounds_how_often_its_steps_are_drawn(tmp_path):
  tables = [
    _table('replay', 0.5),
    _table('new', 0.5, samples_per_insert=2.0),
  ]
  config = _config(tmp_path, *tables, demonstrations=None)
  # An update draws 4 of its rows, so that two steps are owed an update.
  ratio = training.make_ratio(config)
  assert ratio.asked == 0.5
  rounds = 0
  for env_steps in range(200):
    while ratio.may_update(env_steps, rounds):
      rounds += 1
    assert rounds * 2 * 4 <= 2.0 * max(0, env_steps - 20)
  assert rounds == 44
  slow = dataclasses.replace(config, updates_per_step=0.25)
  assert training.make_ratio(slow).asked == 0.25


@pytest.mark.parametrize(
  ('fields', 'kept'),
  [
    ({}, 300),
    ({'remover': 'lifo'}, sys.maxsize),
    ({'remover': 'uniform'}, sys.maxsize),
    ({'make_table': print}, sys.maxsize),
  ],
)
def test_old_episodes_are_of_use_to_tables_that_keep_some(
  tmp_path, fields, kept
):
  config = _config(
    tmp_path,
    _table('small', 0.5),
    _table('large', 0.5, max_size=300, **fields),
    demonstrations=None,
  )
  assert training.steps_kept(config) == kept
