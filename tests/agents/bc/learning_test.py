"""Tests of learning."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import specs
from serl import types
from serl.agents.bc import builder as bc_builder
from serl.agents.bc import config as bc_config
from serl.networks import encoders
from serl.replay import local

CONFIG = bc_config.BCConfig(
  batch_size=64,
  learning_rate=3e-3,
  weight_decay=0.0,
  hidden_sizes=(32, 32),
  gripper=(1,),
)


def _train(config, spec, episodes, updates):
  """Returns the policy, that takes a height."""
  builder = bc_builder.BCBuilder(config)
  replay = local.LocalReplay(builder.make_tables(), spec, builder.batch_spec())
  for episode in episodes:
    for table, pieces in builder.pieces(episode).items():
      for piece in pieces:
        replay.insert(piece, [table])
  networks = builder.make_networks(spec)
  algorithm = builder.make_algorithm(networks)
  update = jax.jit(algorithm.update)
  state = algorithm.init(jax.random.PRNGKey(0))
  for _ in range(updates):
    state, _ = update(state, next(replay))
  policy = builder.make_policy(networks, evaluation=True)

  def act(height):
    observation = {'height': jnp.array([height], jnp.float32)}
    return policy(builder.policy_params(state), None, observation)

  return act


def test_the_gripper_that_closes_in_2_of_100_steps_is_closed(
  grasp_spec, grasps
):
  act = _train(CONFIG, grasp_spec, grasps, updates=200)
  assert act(0.05)[1] == -1.0
  np.testing.assert_array_equal([act(h)[1] for h in (0.35, 0.65, 1.0)], 0.0)


def test_regression_on_all_steps_alike_drowns_it(grasp_spec, grasps):
  config = dataclasses.replace(CONFIG, gripper=())
  act = _train(config, grasp_spec, grasps, updates=200)
  assert act(0.05)[1] > -0.5


@pytest.mark.parametrize('head', ['normal', 'tanh_normal'])
def test_the_loss_falls_on_a_fixed_batch(spec, make_batch, head):
  config = dataclasses.replace(CONFIG, batch_size=8, head=head)
  builder = bc_builder.BCBuilder(config)
  algorithm = builder.make_algorithm(builder.make_networks(spec))
  update = jax.jit(algorithm.update)
  state = algorithm.init(jax.random.PRNGKey(0))
  batch = make_batch((1, 8))
  losses = []
  for _ in range(50):
    state, metrics = update(state, batch)
    losses.append(float(metrics['loss']))
  assert losses[-1] < losses[0] - 1.0


@pytest.mark.parametrize('padding', [0, 2])
def test_images_are_shifted_if_asked(spec, padding):
  spec = spec._replace(
    observations={
      'front': specs.BoundedArray((32, 32, 3), np.uint8, 0, 255),
      **spec.observations,
    }
  )
  config = dataclasses.replace(
    CONFIG,
    batch_size=2,
    event_fraction=0.0,
    crop_padding=padding,
    encoder=encoders.EncoderConfig(features=(4, 4, 4, 4)),
  )
  builder = bc_builder.BCBuilder(config)
  algorithm = builder.make_algorithm(builder.make_networks(spec))
  state = algorithm.init(jax.random.PRNGKey(0))
  random = np.random.default_rng(0)
  observation = {
    'front': random.integers(0, 256, (1, 2, 32, 32, 3), np.uint8),
    'position': np.zeros((1, 2, 3), np.float32),
    'velocity': np.zeros((1, 2, 3), np.float32),
  }
  scalar = np.zeros((1, 2), np.float32)
  action = np.zeros((1, 2, 2), np.float32)
  batch = types.Transition(observation, action, scalar, scalar, observation)
  update = jax.jit(algorithm.update)
  (_, first), (_, again) = (
    update(state._replace(key=jax.random.PRNGKey(seed)), batch)
    for seed in (1, 2)
  )
  assert (first['loss'] == again['loss']) == (padding == 0)


def test_what_acts_is_an_average_of_the_parameters(spec, make_batch):
  config = dataclasses.replace(CONFIG, batch_size=8, average_rate=0.5)
  builder = bc_builder.BCBuilder(config)
  algorithm = builder.make_algorithm(builder.make_networks(spec))
  update = jax.jit(algorithm.update)
  state = algorithm.init(jax.random.PRNGKey(0))
  bias = lambda params: params.policy['mean']['b']
  found = []
  for _ in range(3):
    state, _ = update(state, make_batch((1, 8)))
    found.append((bias(state.params), bias(builder.policy_params(state))))
  (first, average_1), (second, average_2), (third, average_3) = found
  np.testing.assert_allclose(average_1, first, rtol=1e-6)
  np.testing.assert_allclose(average_2, (first + second) / 2, rtol=1e-5)
  np.testing.assert_allclose(average_3, (average_2 + third) / 2, rtol=1e-5)
