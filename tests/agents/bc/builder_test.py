"""Tests of builder."""

import json

import jax
import numpy as np
import pytest

from serl.agents.bc import builder as bc_builder
from serl.agents.bc import config as bc_config
from serl.testing import fakes

CONFIG = bc_config.BCConfig(
  batch_size=4, hidden_sizes=(8,), gripper=(-1,), event_window=0
)


def _episode(commands):
  episode = fakes.make_episode(fakes.make_state_spec(), len(commands))
  action = np.zeros((len(commands), 2), np.float32)
  action[:, 1] = commands
  return episode._replace(action=action)


@pytest.mark.parametrize(
  'commands, window, expected',
  [
    ([-1, -1, -1, 1, 1, 1], 0, [(3, 4)]),
    ([-1, -1, -1, 1, 1, 1], 1, [(2, 5)]),
    ([-1, -1, -1, 1, 1, 1], 9, [(0, 6)]),
    ([0, -1, 0, 0, 0, 0, 0, 1], 0, [(1, 3), (7, 8)]),
    ([0, -1, 0, 0, 0, 0, 0, 1], 1, [(0, 4), (6, 8)]),
    ([0.2, -0.3, 0.4, 0.5, 0.1], 2, []),  # neither opens nor closes
  ],
)
def test_events_are_where_the_command_changes(commands, window, expected):
  episode = _episode(commands)
  pieces = bc_builder.gripper_events(episode, (-1,), window)
  assert len(pieces) == len(expected)
  for piece, (begin, end) in zip(pieces, expected):
    np.testing.assert_array_equal(piece.action, episode.action[begin:end])
    np.testing.assert_array_equal(
      piece.observation['tcp_pos'],
      episode.observation['tcp_pos'][begin : end + 1],
    )
    assert piece.length == end - begin


def test_events_have_their_share_of_a_minibatch():
  steps, events = bc_builder.BCBuilder(CONFIG).make_tables()
  assert (steps.name, steps.fraction) == ('demonstrations', 0.75)
  assert (events.name, events.fraction) == ('gripper_events', 0.25)
  assert steps.source == events.source == 'demonstrations'
  builder = bc_builder.BCBuilder(bc_config.BCConfig())
  (steps,) = builder.make_tables()
  assert steps.fraction == 1.0
  episode = _episode([-1, 1])
  assert builder.pieces(episode) == {'demonstrations': [episode]}


def test_the_pieces_fit(spec, make_batch):
  builder = bc_builder.BCBuilder(CONFIG)
  networks = builder.make_networks(spec)
  algorithm = builder.make_algorithm(networks)
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))
  size = builder.batch_spec()
  batch = make_batch((size.updates_per_round, size.batch_size))
  state, metrics = jax.jit(algorithm.update)(state, batch)
  rows = jax.tree.map(lambda x: x[0], batch)
  measured = jax.jit(builder.make_measure(networks))(state, rows)
  assert {name: values.shape for name, values in measured.items()} == {
    name: (4,) for name in metrics
  }
  observation = jax.tree.map(lambda x: x[0], rows.observation)
  policy = builder.make_policy(networks)
  action = policy(
    builder.policy_params(state), jax.random.PRNGKey(1), observation
  )
  assert action.shape == spec.actions.shape


def test_description_is_plain_data_that_tells_configurations_apart():
  described = bc_builder.BCBuilder().describe()
  assert json.loads(json.dumps(described)) == described
  assert described != bc_builder.BCBuilder(CONFIG).describe()
