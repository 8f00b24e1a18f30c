"""Tests of networks: what the policy does."""

import jax
import numpy as np
import pytest

from serl import specs
from serl.agents import hybrid
from serl.agents import sac
from serl.agents.hybrid import gripper


@pytest.fixture
def observation():
  return {
    'tcp_pos': np.float32([0.3, -0.2]),
    'gripper_pose': np.float32([2.0]),
  }


def _act(spec, config, hybrid_config, evaluation, observation, preferred):
  """Acts 400 times with a gripper critic that prefers one choice."""
  builder = hybrid.HybridBuilder(sac.SACBuilder(config), hybrid_config)
  networks = builder.make_networks(spec)
  state = builder.make_algorithm(networks).init(jax.random.PRNGKey(0))
  critic = jax.tree.map(np.array, state.gripper_params)
  critic['values']['w'][:] = 0
  critic['values']['b'][:] = np.arange(3) == preferred
  params = builder.policy_params(state._replace(gripper_params=critic))
  policy = builder.make_policy(networks, evaluation)
  keys = jax.random.split(jax.random.PRNGKey(1), 400)
  act = jax.jit(jax.vmap(policy, in_axes=(None, 0, None)))
  return np.asarray(act(params, keys, observation))


@pytest.mark.parametrize(
  'preferred, closing, entry',
  [
    (gripper.CLOSE, -0.5, -1),
    (gripper.OPEN, 0.5, -1),
  ],
)
def test_evaluation_takes_the_best_choice_and_the_mode(
  spec, make_config, observation, preferred, closing, entry
):
  actions = _act(
    spec,
    make_config(hidden_sizes=()),
    hybrid.HybridConfig(epsilon=1.0, closing=closing),
    True,
    observation,
    preferred,
  )
  assert actions.shape == (400, 3) and actions.dtype == np.float32
  assert (actions == actions[0]).all() and actions[0, 2] == entry
  assert (np.abs(actions) <= 1).all()


def test_exploration_draws_some_choices_at_random(
  spec, make_config, observation
):
  actions = _act(
    spec,
    make_config(hidden_sizes=()),
    hybrid.HybridConfig(epsilon=0.3),
    False,
    observation,
    gripper.STAY,
  )
  closed, opened = (np.mean(actions[:, 2] == entry) for entry in (-1, 1))
  # A tenth each; their standard deviation is 0.015.
  assert 0.04 < closed < 0.16 and 0.04 < opened < 0.16
  assert np.isin(actions[:, 2], (-1, 0, 1)).all()
  assert len(np.unique(actions[:, 0])) > 390


def test_a_gripper_alone_is_refused(spec, make_config):
  builder = hybrid.HybridBuilder(sac.SACBuilder(make_config()))
  alone = specs.BoundedArray((1,), np.float32, -1.0, 1.0)
  with pytest.raises(ValueError, match='at least two numbers'):
    builder.make_networks(spec._replace(actions=alone))
