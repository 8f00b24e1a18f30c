"""Tests of learning: augmentation by its effect, a round by whom it trains."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
import pytest

from serl import types
from serl.agents import drq
from serl.agents import sac
from serl.agents.drq import learning
from serl.agents.sac import learning as sac_learning

CONFIG = drq.DrQConfig(
  sac=sac.SACConfig(
    batch_size=4,
    updates_per_round=2,
    critic_members=2,
    hidden_sizes=(8,),
    warmup_steps=0,
  ),
  encoder=dataclasses.replace(
    drq.cpu().encoder, features=(4, 4), bottleneck_size=8
  ),
)
LEAD = (2, 4)


@pytest.fixture(scope='module')
def agent(spec):
  builder = drq.DrQBuilder(CONFIG)
  networks = builder.make_networks(spec)
  algorithm = builder.make_algorithm(networks)
  return (
    networks,
    jax.jit(algorithm.update),
    algorithm.init(jax.random.PRNGKey(0)),
  )


def test_crops_shift_every_image_by_its_own_offset(make_batch):
  batch = make_batch((1, 2))
  still = np.full((2, 2), 4, np.int32)
  offsets = learning.CropOffsets(
    observation={'front': np.array([[4, 4], [5, 2]]), 'wrist': still},
    next_observation={'front': still, 'wrist': still},
  )
  cropped = learning.crop(batch, offsets, 4)
  front = batch.observation['front'][0]
  np.testing.assert_array_equal(cropped.observation['front'][0, 0], front[0])
  # One row down, two columns to the left of the padded image's middle.
  np.testing.assert_array_equal(
    cropped.observation['front'][0, 1, :-1, 2:], front[1, 1:, :-2]
  )
  for path in ('wrist', 'tcp_pos'):
    np.testing.assert_array_equal(
      cropped.observation[path], batch.observation[path]
    )
  np.testing.assert_array_equal(
    cropped.next_observation['front'], batch.next_observation['front']
  )


class _Observation(NamedTuple):
  wrist: np.ndarray
  front: np.ndarray


@pytest.mark.parametrize('kind', [_Observation, lambda *images: images, list])
def test_images_are_cropped_in_any_container(kind):
  images = np.random.default_rng(0).integers(0, 255, (2, 1, 1, 8, 8, 3))
  images = images.astype(np.uint8)
  observation = kind(images) if kind is list else kind(*images)
  batch = types.Transition(observation, None, None, None, observation)
  cropped = learning.augment(jax.random.PRNGKey(0), batch, crop_padding=4)
  assert jax.tree.structure(cropped) == jax.tree.structure(batch)
  for before, after in zip(images, jax.tree.leaves(cropped.observation)):
    assert before.shape == after.shape and (before != after).any()


def test_each_camera_and_time_has_offsets_of_its_own(make_batch):
  batch = make_batch((4, 16))
  offsets = learning.draw_crop_offsets(jax.random.PRNGKey(0), batch, 4)
  drawn = [*offsets.observation.values(), *offsets.next_observation.values()]
  assert len(drawn) == 4
  for i, one in enumerate(drawn):
    assert one.shape == (64, 2)
    assert (one.min(), one.max()) == (0, 8)
    assert all((one != other).any() for other in drawn[:i])


def test_augmentation_can_be_left_out(make_batch):
  batch = make_batch(LEAD)
  same = learning.augment(jax.random.PRNGKey(0), batch, crop_padding=0)
  jax.tree.map(np.testing.assert_array_equal, same, batch)


def test_jitter_changes_images_alone(make_batch):
  batch = make_batch(LEAD)
  changed = learning.augment(
    jax.random.PRNGKey(0), batch, crop_padding=0, color_jitter=True
  )
  for field in ('observation', 'next_observation'):
    before, after = getattr(batch, field), getattr(changed, field)
    for path in ('front', 'wrist'):
      assert after[path].dtype == np.uint8
      assert (after[path] != before[path]).any()
    np.testing.assert_array_equal(after['tcp_pos'], before['tcp_pos'])


def test_the_critics_train_the_encoder_and_the_policy_does_not(
  agent, make_batch
):
  networks, _, state = agent
  batch = jax.tree.map(lambda x: x[0], make_batch(LEAD))
  noise = sac_learning.draw_noise(networks, CONFIG.sac, jax.random.PRNGKey(1))
  critic_noise = jax.tree.map(lambda x: x[0], noise.critic)
  after_critics, _ = jax.jit(sac_learning.critic_step, static_argnums=(0, 1))(
    networks, CONFIG.sac, state, batch, critic_noise
  )
  after_policy, _ = jax.jit(sac_learning.policy_step, static_argnums=(0, 1))(
    networks, CONFIG.sac, state, batch, noise.policy
  )
  encoder = lambda state: jax.tree.leaves(state.params.critic.encoder)
  assert all(
    (x != y).any() for x, y in zip(encoder(state), encoder(after_critics))
  )
  assert all(
    (x == y).all() for x, y in zip(encoder(state), encoder(after_policy))
  )


def test_rounds_lower_the_critics_loss_on_a_fixed_batch(agent, make_batch):
  _, update, state = agent
  batch = make_batch(LEAD)._replace(discount=np.zeros(LEAD, np.float32))
  losses = []
  for _ in range(40):
    state, metrics = update(state, batch)
    losses.append(float(metrics['critic_loss']))
  assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_a_round_uses_its_key_up(agent, make_batch):
  _, update, state = agent
  batch = make_batch(LEAD)
  first, _ = update(state, batch)
  other, _ = update(state._replace(key=first.key), batch)
  assert (state.key != first.key).any()
  assert any(
    (x != y).any()
    for x, y in zip(
      jax.tree.leaves(first.params), jax.tree.leaves(other.params)
    )
  )


def test_unrolled_and_scanned_rounds_are_the_same(agent, make_batch):
  networks, _, state = agent
  batch = make_batch(LEAD)
  ends = []
  for unroll in (False, True):
    algorithm = sac_learning.make_algorithm(networks, CONFIG.sac, unroll)
    ends.append(jax.jit(algorithm.update)(state, batch)[0].params)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), *ends
  )
