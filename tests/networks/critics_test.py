"""Tests of critics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.networks import critics


def _make():
  critic = critics.make_critic_ensemble(3, 2, (8, 8), members=4)
  params = critic.init(jax.random.PRNGKey(0))
  keys = jax.random.split(jax.random.PRNGKey(1))
  inputs = (
    jax.random.normal(keys[0], (5, 3)),
    jax.random.normal(keys[1], (5, 2)),
  )
  return critic, params, inputs


def test_every_parameter_has_the_members_in_front():
  _, params, _ = _make()
  assert {leaf.shape[0] for leaf in jax.tree.leaves(params)} == {4}


def test_ensemble_equals_a_loop_over_its_members():
  critic, params, inputs = _make()
  values = critic.apply(params, *inputs)
  assert values.shape == (4, 5)
  for i in range(4):
    alone = critic.apply(critics.take_members(params, jnp.array([i])), *inputs)
    np.testing.assert_allclose(values[i : i + 1], alone, rtol=1e-5, atol=1e-6)
  assert np.std(values, axis=0).min() > 1e-3


def test_a_subset_reads_its_members_alone():
  critic, params, inputs = _make()
  values = critic.apply(params, *inputs)
  broken = jax.tree.map(lambda x: x.at[jnp.array([0, 2])].set(jnp.nan), params)
  subset = critics.take_members(broken, jnp.array([3, 1]))
  np.testing.assert_allclose(
    jax.jit(critic.apply)(subset, *inputs), values[jnp.array([3, 1])], rtol=1e-5
  )


def test_members_may_share_their_last_layer():
  network = critics.make_critic_ensemble(3, 2, (4,), 5, shared_head=True)
  params = network.init(jax.random.PRNGKey(0))
  assert params['shared_value']['w'].shape == (4, 1)
  embedding = jax.random.normal(jax.random.PRNGKey(1), (6, 3))
  action = jax.random.normal(jax.random.PRNGKey(2), (6, 2))
  values = network.apply(params, embedding, action)
  assert values.shape == (5, 6)
  drawn = critics.take_members(params, jnp.array([3, 1]))
  np.testing.assert_allclose(
    network.apply(drawn, embedding, action), values[jnp.array([3, 1])], 1e-6
  )


@pytest.mark.parametrize(
  'embedding, action',
  [
    (np.zeros((5, 4)), np.zeros((5, 2))),
    (np.zeros((5, 3)), np.zeros((5, 1))),
    (np.zeros((5, 3)), np.zeros((1, 2))),
    (np.zeros(3), np.zeros(2)),
    (np.zeros((5, 3), int), np.zeros((5, 2))),
  ],
)
def test_refuses_other_inputs_than_it_was_made_for(embedding, action):
  critic = critics.make_critic_ensemble(3, 2, (4,), 2)
  params = critic.init(jax.random.PRNGKey(0))
  with pytest.raises(AssertionError):
    critic.apply(params, embedding, action)
