"""Tests of with_tables, and of what else wraps a builder."""

import dataclasses
import json

import pytest

from serl.agents import bc
from serl.agents import builder
from serl.agents import rlpd
from serl.agents import sac
from serl.agents import vice
from serl.agents import with_tables
from serl.testing import fakes


def _agent(batch_size=8):
  return sac.SACBuilder(sac.SACConfig(batch_size=batch_size))


def _table(name, fraction=0.5, source='online', **fields):
  return builder.TableSpec(name, 100, 10, fraction, source, **fields)


def test_the_tables_are_the_given_ones_and_all_else_is_the_builders(spec):
  tables = (_table('replay', n_step=3), _table('shown', source='shown'))
  wrapped = with_tables.WithTables(_agent(), tables)
  assert wrapped.make_tables() == tables
  assert wrapped.batch_spec() == _agent().batch_spec()
  networks = wrapped.make_networks(spec)
  assert networks.action_size == 2
  assert callable(wrapped.make_algorithm(networks).update)
  assert callable(wrapped.make_policy(networks, evaluation=True))
  assert callable(wrapped.make_critic(networks))
  described = wrapped.describe()
  assert json.loads(json.dumps(described)) == described
  assert described['tables'][0]['n_step'] == 3
  assert described['wraps'] == _agent().describe()


@pytest.mark.parametrize(
  ('tables', 'message'),
  [
    ([_table('a'), _table('a')], 'names that differ'),
    ([_table('a')], 'not sum to the batch size 8'),
    ([_table('a', 0.3), _table('b', 0.7)], 'no whole rows'),
    ([], 'not sum to the batch size 8'),
  ],
)
def test_tables_that_do_not_go_together_are_refused(tables, message):
  with pytest.raises(ValueError, match=message):
    with_tables.WithTables(_agent(), tables)


def test_every_wrapper_refuses_names_that_stand_there_twice():
  with pytest.raises(ValueError, match=r"'demonstrations'.*RLPDConfig.source"):
    rlpd.RLPDBuilder(rlpd.RLPDBuilder(_agent()))
  other = rlpd.RLPDConfig(source='scripted')
  assert rlpd.RLPDBuilder(rlpd.RLPDBuilder(_agent()), other)
  offline = bc.BCBuilder(bc.BCConfig(batch_size=8))
  with pytest.raises(ValueError, match=r"'demonstrations'.*more than once"):
    rlpd.RLPDBuilder(offline)
  goals = with_tables.WithTables(_agent(), [_table('goals', 1.0)])
  with pytest.raises(ValueError, match=r"'goals'.*more than once"):
    vice.VICEBuilder(goals, vice.VICEConfig(goals_per_minibatch=8))


def test_demonstrations_reach_as_far_as_experience():
  agent = with_tables.WithTables(
    _agent(), [_table('replay', 1.0, n_step=3, crosses_interventions=True)]
  )
  _, shown = rlpd.RLPDBuilder(agent).make_tables()
  assert shown.n_step == 3 and shown.crosses_interventions


@pytest.mark.parametrize('source', ['online', 'goals'])
def test_rlpd_draws_from_demonstrations(source):
  with pytest.raises(ValueError, match=f"RLPDConfig.source is '{source}'"):
    rlpd.RLPDConfig(source=source)


def test_goals_stay_the_last_rows():
  for wrap in (rlpd.RLPDBuilder, lambda b: with_tables.WithTables(b, ())):
    with pytest.raises(ValueError, match='is around VICEBuilder'):
      wrap(vice.VICEBuilder(_agent()))


def test_vice_rewards_single_steps():
  agent = with_tables.WithTables(_agent(), [_table('replay', 1.0, n_step=2)])
  with pytest.raises(ValueError, match=r"'replay' has n_step 2.*single steps"):
    vice.VICEBuilder(agent)


def test_an_agent_without_a_discount_takes_single_steps():
  offline = bc.BCBuilder(bc.BCConfig(batch_size=8))
  (table,) = offline.make_tables()
  with pytest.raises(ValueError, match=r'n_step 2, .* batch_spec\(\) has no'):
    with_tables.WithTables(offline, [dataclasses.replace(table, n_step=2)])


def test_offline_each_table_gets_the_builders_pieces_or_all():
  offline = bc.BCBuilder(bc.BCConfig(batch_size=8))
  tables = [
    _table('demonstrations', source='good'),
    _table('more', source='poor'),
  ]
  episode = fakes.make_episode(fakes.make_state_spec())
  found = with_tables.WithTables(offline, tables).pieces(episode)
  assert found == {'demonstrations': [episode], 'more': [episode]}
