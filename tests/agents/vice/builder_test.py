"""Tests of builder."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from serl import programs
from serl.agents import builder as agent_builder
from serl.agents import rlpd
from serl.agents import vice
from serl.agents.vice import goals
from serl.testing import fakes


def test_goals_stand_behind_the_agents_rows(builder):
  tables = builder.make_tables()
  batch_spec = builder.batch_spec()
  assert (batch_spec.updates_per_round, batch_spec.batch_size) == (2, 12)
  shares = agent_builder.shares(tables, batch_spec.batch_size)
  assert list(shares.items()) == [
    ('replay', 4),
    ('demonstrations', 4),
    ('goals', 4),
  ]
  assert [t.source for t in tables] == ['online', 'demonstrations', 'goals']


def test_the_policy_is_the_wrapped_agents(builder, spec):
  networks = builder.make_networks(spec)
  state = builder.make_algorithm(networks).init(jax.random.PRNGKey(0))
  params = builder.policy_params(state)
  expected = builder.builder.policy_params(state.agent)
  assert jax.tree.structure(params) == jax.tree.structure(expected)
  policy = builder.make_policy(networks, evaluation=True)
  observation = jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, leaf.dtype), spec.observations
  )
  action = policy(params, jax.random.PRNGKey(0), observation)
  assert action.shape == (2,)


def test_describes_itself_as_plain_data(builder):
  described = builder.describe()
  assert described['agent'] == 'vice'
  assert described['wraps'] == builder.builder.describe()
  assert json.loads(json.dumps(described)) == described


def test_refuses_rlpd_around_it(builder):
  with pytest.raises(ValueError, match='the other way round'):
    rlpd.RLPDBuilder(builder)


def test_refuses_bounds_of_a_return_that_it_replaces(agent, config):
  bounded = dataclasses.replace(agent.config.sac, return_bounds=(0.0, 1.0))
  drq_config = dataclasses.replace(agent.config, sac=bounded)
  wrapped = rlpd.RLPDBuilder(dataclasses.replace(agent, config=drq_config))
  with pytest.raises(ValueError, match=r'return_bounds .*expected None'):
    vice.VICEBuilder(wrapped, config)


def test_refuses_more_updates_than_minibatches(agent, config):
  config = dataclasses.replace(config, updates_per_round=3)
  with pytest.raises(ValueError, match='is 3, expected at most the 2'):
    vice.VICEBuilder(agent, config)


@pytest.mark.parametrize(
  'name, value',
  [
    ('reward', 'sparse'),
    ('lowest_reward', 0.0),
    ('goals_per_minibatch', 0),
    ('updates_per_round', 0),
    ('learning_rate', 0.0),
    ('label_smoothing', 1.0),
    ('mixup_alpha', -1.0),
    ('gradient_penalty', -1.0),
    ('crop_padding', -1),
    ('max_goals', 0),
  ],
)
def test_the_config_refuses_what_makes_no_sense(name, value):
  with pytest.raises(ValueError, match=f'VICEConfig.{name} is'):
    vice.VICEConfig(**{name: value})


def test_the_last_steps_of_an_episode(spec):
  episode = fakes.make_episode(spec, length=6)
  cut = goals.last_steps(episode, 2)
  assert cut.action.base is None  # keeps nothing of the others
  assert cut.length == 2
  np.testing.assert_array_equal(
    cut.observation['front'], episode.observation['front'][4:]
  )
  np.testing.assert_array_equal(cut.action, episode.action[4:])
  for count in (0, 7):
    with pytest.raises(ValueError, match=f'last {count} steps .* of 6'):
      goals.last_steps(episode, count)


def test_a_run_needs_goals(builder, spec, tmp_path):
  with pytest.raises(ValueError, match=r"'goals', but goals is None.*VICE"):
    programs.RunConfig(
      run_dir=tmp_path,
      make_environment=lambda seed: fakes.FakeEnvironment(spec),
      builder=builder,
      demonstrations=[fakes.make_episode(spec)],
    )


def test_a_run_draws_from_its_goals(builder, spec, tmp_path):
  summary = programs.run_local(
    programs.RunConfig(
      run_dir=tmp_path / 'run',
      make_environment=lambda seed: fakes.FakeEnvironment(spec, seed=seed),
      builder=builder,
      demonstrations=[fakes.make_episode(spec)],
      goals=[fakes.make_episode(spec, length=3, seed=s) for s in range(2)],
      random_steps=10,
      max_env_steps=20,
      evaluate=False,
    )
  )
  assert summary is not None
  line = (tmp_path / 'run/metrics/learner.jsonl').read_text().splitlines()[-1]
  metrics = json.loads(line)
  assert metrics['goals_size'] == 6 and metrics['demonstrations_size'] == 10
  assert -5 <= metrics['vice_reward'] <= 0


def test_an_end_that_is_punished_is_refused(config):
  with pytest.raises(ValueError, match='punishes the end of an episode'):
    dataclasses.replace(config, reward='probability', keep_terminations=True)


def test_an_end_that_is_rewarded_is_warned_of(builder, spec, caplog):
  builder.make_algorithm(builder.make_networks(spec))
  assert 'keep_terminations' not in caplog.text
  config = dataclasses.replace(builder.config, keep_terminations=True)
  keeping = dataclasses.replace(builder, config=config)
  keeping.make_algorithm(keeping.make_networks(spec))
  assert 'the agent learns to fail soon' in caplog.text
