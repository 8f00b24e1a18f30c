"""Tests of losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.agents.bc import losses
from serl.agents.bc import networks as bc_networks
from serl.networks import distributions
from serl.networks import feed_forward


def _networks(output, movements, grippers):
  """Networks that say `output` whatever they see."""
  constant = lambda value: feed_forward.FeedForward(
    init=lambda key: {}, apply=lambda params, *inputs: value
  )
  return bc_networks.BCNetworks(
    constant(None), constant(output), movements, grippers
  )


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_worked_by_hand(wrap):
  # Two steps; actions are x, gripper, y.
  output = bc_networks.PolicyOutput(
    distributions.Normal(
      jnp.array([[0.0, 0.5], [0.0, 0.5]]), jnp.array([[1.0, 0.5], [1.0, 0.5]])
    ),
    jnp.log(jnp.array([[[0.7, 0.2, 0.1]], [[0.7, 0.2, 0.1]]])),
  )
  networks = _networks(output, (0, 2), (1,))
  action = jnp.array([[0.0, -1.0, 0.5], [1.0, 0.9, 0.0]])
  found = wrap(
    lambda action: losses.measure(
      bc_networks.BCParams({}, {}), None, action, networks=networks
    )
  )(action)
  # -log N(0; 0, 1) = 0.9189385 and -log N(0.5; 0.5, 0.5) = 0.2257913; the
  # second step is one standard deviation off in both, 0.5 each.
  movement_loss = np.array([1.1447298, 2.1447298])
  gripper_loss = -np.log([0.7, 0.1])
  np.testing.assert_allclose(found['movement_loss'], movement_loss, rtol=1e-6)
  np.testing.assert_allclose(found['gripper_loss'], gripper_loss, rtol=1e-5)
  np.testing.assert_allclose(
    found['loss'], movement_loss + gripper_loss, rtol=1e-5
  )
  np.testing.assert_allclose(found['movement_error'], [0.0, 0.75], rtol=1e-6)
  np.testing.assert_array_equal(found['gripper_error'], [0.0, 1.0])


def test_without_a_gripper_all_of_it_is_movement():
  output = bc_networks.PolicyOutput(
    distributions.Normal(jnp.zeros((1, 2)), jnp.ones((1, 2))),
    jnp.zeros((1, 0, 3)),
  )
  loss, metrics = losses.loss(
    bc_networks.BCParams({}, {}),
    None,
    jnp.zeros((1, 2)),
    networks=_networks(output, (0, 1), ()),
  )
  np.testing.assert_allclose(loss, 2 * 0.9189385, rtol=1e-6)
  assert set(metrics) == {'loss', 'movement_loss', 'movement_error'}


def test_actions_of_another_size_are_refused():
  output = bc_networks.PolicyOutput(
    distributions.Normal(jnp.zeros((2, 2)), jnp.ones((2, 2))),
    jnp.zeros((2, 0, 3)),
  )
  networks = _networks(output, (0, 1), ())
  for action in (jnp.zeros((2, 3)), jnp.zeros(2), jnp.zeros((2, 2), int)):
    with pytest.raises(AssertionError):
      losses.measure(
        bc_networks.BCParams({}, {}), None, action, networks=networks
      )
  with pytest.raises(AssertionError):
    losses.measure(
      bc_networks.BCParams({}, {}),
      {'state': jnp.zeros((1, 4))},
      jnp.zeros((2, 2)),
      networks=networks,
    )
