"""Tests of builder."""

import json

import jax

from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config


def test_the_pieces_fit(spec, make_batch):
  builder = sac_builder.SACBuilder(
    sac_config.SACConfig(
      batch_size=4, updates_per_round=2, critic_members=2, hidden_sizes=(8,)
    )
  )
  networks = builder.make_networks(spec)
  algorithm = builder.make_algorithm(networks)
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))
  size = builder.batch_spec()
  batch = make_batch((size.updates_per_round, size.batch_size))
  state, _ = jax.jit(algorithm.update)(state, batch)
  policy = builder.make_policy(networks)
  observation = jax.tree.map(lambda x: x[0, 0], batch.observation)
  params = builder.policy_params(state)
  action = policy(params, jax.random.PRNGKey(1), observation)
  assert action.shape == spec.actions.shape


def test_one_table_of_its_own_experience():
  (table,) = sac_builder.SACBuilder().make_tables()
  assert (table.source, table.fraction) == ('online', 1.0)
  assert (table.max_size, table.min_size) == (1_000_000, 1000)


def test_description_is_plain_data_that_tells_configurations_apart():
  described = sac_builder.SACBuilder().describe()
  assert json.loads(json.dumps(described)) == described
  assert described != sac_builder.SACBuilder(sac_config.cpu()).describe()
