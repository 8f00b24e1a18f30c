"""Tests of losses, by hand."""

import jax
import numpy as np
import pytest

from serl.agents import hybrid
from serl.agents import sac
from serl.agents.hybrid import losses

ALL = np.ones(4, np.float32)


@pytest.fixture
def networks(spec, make_config):
  builder = hybrid.HybridBuilder(sac.SACBuilder(make_config()))
  return builder.make_networks(spec)


@pytest.fixture
def batch(make_batch):
  """Closes an open gripper; opens an open one; opens a closed one; stays."""
  batch = make_batch((4,))
  batch.observation['gripper_pose'][:, 0] = 0, 0, 10, 10
  batch.action[:, 2] = -1, 1, 0.7, -0.2
  return batch._replace(
    reward=np.float32([1, 0, 0, 2]),
    discount=np.float32([0, 1, 1, 0.5]),
    source=np.int32([0, 0, 2, 2]),
  )


def _params(networks, values):
  """Returns parameters that give every state the same three values."""
  critic = networks.gripper_critic.init(jax.random.PRNGKey(0))
  critic = jax.tree.map(np.array, critic)
  critic['values']['w'][:] = 0
  critic['values']['b'][:] = values
  return losses.GripperParams({}, critic)


def test_the_target_by_hand(networks, batch):
  target, metrics = losses.gripper_target(
    _params(networks, [1, 5, 2]),  # prefers to stay
    _params(networks, [30, 10, 20]),  # values that at 10
    batch,
    networks=networks,
    discount=0.9,
    closing=-0.5,
    penalty=0.25,
  )
  np.testing.assert_allclose(
    target, [1 - 0.25, 0.9 * 10, -0.25 + 0.9 * 10, 2 + 0.45 * 10], rtol=1e-6
  )
  assert metrics['gripper_penalty_rate'] == 0.5
  rates = [metrics[f'gripper_{c}_rate'] for c in ('close', 'stay', 'open')]
  np.testing.assert_array_equal(rates, [0, 1, 0])


def _loss(networks, batch, weight=ALL, **settings):
  params = _params(networks, [1, 5, 2])
  return losses.gripper_loss(
    params.gripper_critic,
    params.encoder,
    batch,
    np.float32([1, 1, 1, 1]),
    weight,
    networks=networks,
    closing=-0.5,
    **settings,
  )


def test_the_loss_by_hand(networks, batch):
  loss, metrics = _loss(networks, batch)
  # The values of close, open, open, stay are 1, 2, 2, 5.
  np.testing.assert_allclose(loss, (0 + 1 + 1 + 16) / 4, rtol=1e-6)
  np.testing.assert_allclose(metrics['gripper_critic_value'], 2.5, rtol=1e-6)


def test_no_target_is_above_what_there_can_be(networks, batch):
  target, _ = losses.gripper_target(
    _params(networks, [1, 5, 2]),
    _params(networks, [30, 10, 20]),
    batch,
    networks=networks,
    discount=0.9,
    closing=-0.5,
    penalty=0.25,
    largest_return=8.8,
  )
  # The penalty alone may lower it below the least.
  np.testing.assert_allclose(target, [0.75, 8.8, 8.75, 6.5], rtol=1e-6)


def test_a_demonstrated_choice_is_worth_more_by_the_margin(networks, batch):
  rows = np.array([False, False, True, True])
  with_margin, metrics = _loss(networks, batch, margin=0.5, demonstrated=rows)
  plain, _ = _loss(networks, batch)
  # Of the last two, opening lacks 5.5 - 2, and to stay has all of it: 5.
  np.testing.assert_allclose(with_margin - plain, 3.5 / 2, rtol=1e-6)
  np.testing.assert_allclose(metrics['gripper_margin_loss'], 1.75, rtol=1e-6)


def test_without_demonstrations_there_is_no_margin(networks, batch):
  none = np.zeros(4, bool)
  loss, metrics = _loss(networks, batch, margin=0.5, demonstrated=none)
  assert loss == _loss(networks, batch)[0]
  assert metrics['gripper_margin_loss'] == 0


def test_the_loss_weighs_its_rows(networks, batch):
  loss, _ = _loss(networks, batch, np.float32([5, 1, 0, 0.5]))
  np.testing.assert_allclose(loss, (0 + 1 + 0 + 8) / 4, rtol=1e-6)


def test_arrays_of_another_shape_are_refused(networks, batch):
  with pytest.raises(AssertionError):
    _loss(networks, batch._replace(action=batch.action[:, :2]))
  with pytest.raises(AssertionError):
    _loss(networks, batch._replace(reward=batch.reward[:, None]))
  for weight in (ALL[:3], ALL[:, None], np.float32(1.0)):
    with pytest.raises(AssertionError):
      _loss(networks, batch, weight)
