"""Tests of networks."""

import jax
import numpy as np
import pytest

from serl import specs
from serl.agents.sac import config as sac_config
from serl.agents.sac import networks as sac_networks

CONFIG = sac_config.SACConfig(critic_members=3, hidden_sizes=(8, 8))


@pytest.mark.parametrize(
  'actions',
  [
    specs.Array((2,), np.float32),
    specs.BoundedArray((2,), np.float32, -2.0, 2.0),
    specs.BoundedArray((2, 1), np.float32, -1.0, 1.0),
    specs.BoundedArray((2,), np.int32, -1, 1),
    {'arm': specs.BoundedArray((2,), np.float32, -1.0, 1.0)},
  ],
)
def test_refuses_other_actions(spec, actions):
  with pytest.raises(ValueError, match=r'\[-1, 1\], the action spec is'):
    sac_networks.make_networks(spec._replace(actions=actions), CONFIG)


def _policy_params(networks):
  return sac_networks.PolicyParams(
    encoder={}, policy=networks.policy.init(jax.random.PRNGKey(0))
  )


def test_the_exploring_policy_samples_and_the_evaluated_one_does_not(spec):
  networks = sac_networks.make_networks(spec, CONFIG)
  params = _policy_params(networks)
  observation = specs.zeros_like(spec.observations)
  keys = jax.random.split(jax.random.PRNGKey(1))

  def act(evaluation, key):
    policy = sac_networks.make_policy(networks, evaluation)
    action = jax.jit(policy)(params, key, observation)
    assert action.shape == (2,)
    assert np.abs(action).max() <= 1
    return action

  assert not np.allclose(act(False, keys[0]), act(False, keys[1]))
  np.testing.assert_array_equal(act(False, keys[0]), act(False, keys[0]))
  np.testing.assert_array_equal(act(True, keys[0]), act(True, keys[1]))


def test_scaling_is_the_configurations(spec, make_batch):
  batch = make_batch((4,))
  raw = sac_networks.make_networks(spec, CONFIG)
  embedding = raw.encoder.apply({}, batch.observation)
  np.testing.assert_allclose(embedding[:, :3], batch.observation['position'])
  scaled = sac_networks.make_networks(
    spec, sac_config.SACConfig(scale_observations=True)
  )
  embedding = scaled.encoder.apply({}, batch.observation)
  np.testing.assert_allclose(
    embedding[:, :3], batch.observation['position'] - 1, atol=1e-6
  )


def test_the_hidden_layers_are_the_configurations(spec):
  config = sac_config.SACConfig(
    critic_members=3, hidden_sizes=(8,), activation='relu', layer_norm=False
  )
  networks = sac_networks.make_networks(spec, config)
  for network in (networks.policy, networks.critic):
    params = network.init(jax.random.PRNGKey(0))
    assert not any('layer_norm' in module for module in params)
    assert params['mlp/linear_0']['b'].shape[-1] == 8
  # A negative bias lets nothing through a ReLU: only the last one is left.
  params = networks.critic.init(jax.random.PRNGKey(0))
  params['mlp/linear_0']['b'] -= 100.0
  params['value']['b'] += 3.0
  values = networks.critic.apply(params, np.ones((2, 6)), np.ones((2, 2)))
  np.testing.assert_array_equal(values, 3.0)
