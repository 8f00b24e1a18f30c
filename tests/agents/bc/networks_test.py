"""Tests of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import specs
from serl.agents.bc import config as bc_config
from serl.agents.bc import networks as bc_networks
from serl.networks import distributions

CONFIG = bc_config.BCConfig(hidden_sizes=(8,), gripper=(-1,))


def test_gripper_class_has_the_thresholds_one_half():
  commands = np.array([-1.0, -0.51, -0.5, 0.0, 0.5, 0.51, 1.0])
  np.testing.assert_array_equal(
    bc_networks.gripper_class(commands), [0, 0, 1, 1, 1, 2, 2]
  )


def test_split_and_join_put_every_number_in_its_place():
  networks = bc_networks.BCNetworks(None, None, (0, 2), (1, 3))
  action = jnp.array([[0.1, -1.0, 0.2, 1.0], [0.3, 0.0, 0.4, -1.0]])
  movement, classes = networks.split_action(action)
  np.testing.assert_allclose(movement, [[0.1, 0.2], [0.3, 0.4]])
  np.testing.assert_array_equal(classes, [[0, 2], [1, 0]])
  np.testing.assert_allclose(networks.join_action(movement, classes), action)


def test_mode_is_clipped_to_the_actions(spec):
  networks = bc_networks.make_networks(spec, CONFIG)
  output = bc_networks.PolicyOutput(
    distributions.Normal(jnp.array([[3.0]]), jnp.array([[1.0]])),
    jnp.array([[[0.0, 0.0, 1.0]]]),
  )
  np.testing.assert_array_equal(
    bc_networks.mode(networks, output), [[1.0, 1.0]]
  )


@pytest.mark.parametrize('head', ['normal', 'tanh_normal'])
@pytest.mark.parametrize('gripper', [(), (-1,)])
def test_samples_are_actions_and_differ(spec, make_batch, head, gripper):
  config = bc_config.BCConfig(hidden_sizes=(8,), head=head, gripper=gripper)
  networks = bc_networks.make_networks(spec, config)
  params = bc_networks.BCParams({}, networks.policy.init(jax.random.PRNGKey(0)))
  observation = jax.tree.map(lambda x: x[0], make_batch((1,)).observation)
  act = jax.jit(bc_networks.make_policy(networks, evaluation=False))
  keys = jax.random.split(jax.random.PRNGKey(1), 20)
  actions = np.stack([act(params, key, observation) for key in keys])
  for action in actions:
    spec.actions.validate(action)
  assert (actions.std(axis=0) > 0).all()
  if gripper:
    assert set(actions[:, 1]) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize('gripper', [(2,), (-3,), (0, 1), (0, -2, 1)])
def test_a_gripper_that_is_not_in_the_action_is_refused(spec, gripper):
  config = bc_config.BCConfig(gripper=gripper)
  with pytest.raises(ValueError, match=r'gripper is .*, expected indices of'):
    bc_networks.make_networks(spec, config)


def test_actions_of_another_range_are_refused(spec):
  actions = specs.BoundedArray((2,), np.float32, -2.0, 2.0)
  with pytest.raises(ValueError, match='one float vector in'):
    bc_networks.make_networks(spec._replace(actions=actions), CONFIG)
