"""Tests of builder."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from serl.agents import drq
from serl.agents import rlpd
from serl.agents import sac

CONFIG = drq.DrQConfig(
  sac=sac.SACConfig(
    batch_size=4, updates_per_round=2, critic_members=2, hidden_sizes=(8,)
  ),
  encoder=dataclasses.replace(
    drq.cpu().encoder, features=(4, 4), bottleneck_size=8
  ),
)


def test_the_pieces_fit(spec, make_batch):
  builder = rlpd.RLPDBuilder(drq.DrQBuilder(CONFIG))
  networks = builder.make_networks(spec)
  algorithm = builder.make_algorithm(networks)
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))
  size = builder.batch_spec()
  batch = make_batch((size.updates_per_round, size.batch_size))
  state, _ = jax.jit(algorithm.update)(state, batch)
  policy = builder.make_policy(networks)
  observation = jax.tree.map(lambda x: x[0, 0], batch.observation)
  action = policy(
    builder.policy_params(state), jax.random.PRNGKey(1), observation
  )
  assert action.shape == spec.actions.shape


def test_description_is_plain_data_that_tells_configurations_apart():
  described = drq.DrQBuilder(CONFIG).describe()
  assert json.loads(json.dumps(described)) == described
  assert described != drq.DrQBuilder(drq.cpu()).describe()
  assert (
    described
    != drq.DrQBuilder(dataclasses.replace(CONFIG, crop_padding=2)).describe()
  )


def test_scaling_that_would_do_nothing_is_refused():
  with pytest.raises(ValueError, match=r'EncoderConfig\.scale_proprioception'):
    drq.DrQConfig(sac=sac.SACConfig(scale_observations=True))


def test_float_images_are_refused(spec, make_batch):
  builder = drq.DrQBuilder(CONFIG)
  networks = builder.make_networks(spec)
  params = networks.encoder.init(jax.random.PRNGKey(0))
  observation = make_batch((2,)).observation
  observation['front'] = observation['front'].astype(np.float32) / 255
  with pytest.raises((TypeError, ValueError), match='front'):
    networks.encoder.apply(params, observation)
