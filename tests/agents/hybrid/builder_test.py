"""Tests of builder."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from serl import specs
from serl.agents import builder as agent_builder
from serl.agents import drq
from serl.agents import hybrid
from serl.agents import rlpd
from serl.agents import sac
from serl.agents import vice
from serl.agents.drq import learning as drq_learning


@pytest.fixture
def make_drq(make_config):
  def make():
    return drq.DrQBuilder(
      drq.DrQConfig(
        sac=make_config(updates_per_round=1, hidden_sizes=()),
        encoder=dataclasses.replace(
          drq.cpu().encoder, features=(4,), bottleneck_size=4
        ),
        crop_padding=1,
        color_jitter=True,
      )
    )

  return make


@pytest.fixture
def image_spec(spec):
  image = specs.BoundedArray((8, 8, 3), np.uint8, 0, 255)
  return spec._replace(observations={'wrist': image, **spec.observations})


@pytest.fixture
def make_image_batch(make_batch):
  def make(lead, seed=0):
    random = np.random.default_rng(seed)
    draw = lambda: random.integers(0, 256, (*lead, 8, 8, 3), np.uint8)
    batch = make_batch(lead, seed)
    return batch._replace(
      observation={'wrist': draw(), **batch.observation},
      next_observation={'wrist': draw(), **batch.next_observation},
    )

  return make


def test_the_pieces_fit_with_images_and_demonstrations(
  make_drq, image_spec, make_image_batch, monkeypatch
):
  augmented = []
  augment = drq_learning.augment
  monkeypatch.setattr(
    drq_learning,
    'augment',
    lambda *args, **kwargs: (
      augmented.append(kwargs) or augment(*args, **kwargs)
    ),
  )
  builder = rlpd.RLPDBuilder(hybrid.HybridBuilder(make_drq()))
  assert [t.fraction for t in builder.make_tables()] == [0.5, 0.5]
  networks = builder.make_networks(image_spec)
  algorithm = builder.make_algorithm(networks)
  size = builder.batch_spec()
  batch = make_image_batch((size.updates_per_round, size.batch_size))
  # Shapes alone: convolutions take long to compile.
  state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
  after, metrics = jax.eval_shape(algorithm.update, state, batch)
  describe = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert describe(after) == describe(state)
  td_error = metrics.pop(agent_builder.TD_ERROR)
  assert td_error.shape == (size.updates_per_round, size.batch_size)
  assert all(value.shape == () for value in metrics.values())
  assert augmented == [{'crop_padding': 1, 'color_jitter': True}]
  action = jax.eval_shape(
    builder.make_policy(networks),
    builder.policy_params(after),
    jax.random.PRNGKey(2),
    jax.tree.map(lambda x: x[0, 0], batch.observation),
  )
  assert (action.shape, action.dtype) == ((3,), np.float32)
  minibatch = jax.tree.map(lambda x: x[0], batch)
  values = jax.eval_shape(
    builder.make_critic(networks),
    after,
    minibatch.observation,
    minibatch.action,
  )
  assert values.shape == (size.batch_size,)


def test_the_critic_compares_motion_and_gripper(make_config, spec, make_batch):
  builder = hybrid.HybridBuilder(sac.SACBuilder(make_config()))
  networks = builder.make_networks(spec)
  init = jax.jit(builder.make_algorithm(networks).init)
  state = init(jax.random.PRNGKey(0))
  batch = make_batch((4,))
  stays = np.array(batch.action)
  stays[:, -1] = 0.0
  closes = stays.copy()
  closes[:, -1] = builder.config.closing
  critic = jax.jit(builder.make_critic(networks))
  advantage = critic(state, batch.observation, closes) - critic(
    state, batch.observation, stays
  )
  embedding = networks.agent.encoder.apply({}, batch.observation)
  values = networks.gripper_critic.apply(state.gripper_params, embedding)
  np.testing.assert_allclose(advantage, values[:, 0] - values[:, 1], atol=1e-6)
  # Of the motion alone it is the agent's.
  moved = stays * np.float32([0.5, -1, 1])
  agent_critic = builder.agent.make_critic(networks.agent)
  np.testing.assert_allclose(
    critic(state, batch.observation, moved)
    - critic(state, batch.observation, stays),
    agent_critic(state.agent, batch.observation, moved[:, :-1])
    - agent_critic(state.agent, batch.observation, stays[:, :-1]),
    atol=1e-6,
  )


def test_description_is_plain_data_that_tells_configurations_apart(make_drq):
  described = hybrid.HybridBuilder(
    make_drq(), hybrid.HybridConfig(gripper_range=(0.08, 0.0))
  ).describe()
  assert json.loads(json.dumps(described)) == described
  assert described['wraps'] == make_drq().describe()
  assert described != hybrid.HybridBuilder(make_drq()).describe()


def test_what_is_no_sac_is_refused(make_drq, make_config):
  for wrapper in (rlpd.RLPDBuilder, vice.VICEBuilder):
    with pytest.raises(ValueError, match='around HybridBuilder'):
      hybrid.HybridBuilder(wrapper(sac.SACBuilder(make_config())))
  assert vice.VICEBuilder(hybrid.HybridBuilder(make_drq()))


def test_who_clones_motion_or_gripper_needs_demonstrated_rows(make_config):
  agent = sac.SACBuilder(make_config())
  cloner = sac.SACBuilder(make_config(cloning=0.1))
  margin = hybrid.HybridConfig(margin=0.1)
  needs = lambda *parts: (
    hybrid.HybridBuilder(*parts).batch_spec().needs_demonstrations
  )
  assert not needs(agent)
  assert needs(agent, margin)
  assert needs(cloner)
