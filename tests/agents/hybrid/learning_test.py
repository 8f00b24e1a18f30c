"""Tests of learning: where the penalty goes, and that the gripper learns."""

import functools

import jax
import numpy as np
import pytest

from serl import types
from serl.agents import hybrid
from serl.agents import learner as learner_lib
from serl.agents import sac
from serl.agents.hybrid import gripper
from serl.agents.hybrid import learning
from serl.agents.sac import learning as sac_learning

CONFIG = hybrid.HybridConfig(penalty=0.25)
# Compiles fast.
_LINEAR = {'hidden_sizes': (), 'critic_members': 1, 'target_members': 1}


def _setup(spec, agent_config, config=CONFIG):
  builder = hybrid.HybridBuilder(sac.SACBuilder(agent_config), config)
  networks = builder.make_networks(spec)
  return networks, builder.make_algorithm(networks)


def _noise(networks, agent_config):
  """Returns the least of chances: to draw it would take long to compile."""
  draw = functools.partial(
    sac_learning.draw_noise, networks.agent, agent_config
  )
  return jax.tree.map(
    lambda x: np.zeros(x.shape, x.dtype),
    jax.eval_shape(draw, jax.random.PRNGKey(0)),
  )


def _assert_close(ours, theirs):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    ours,
    theirs,
  )


@pytest.mark.parametrize('unroll', [False, True])
@pytest.mark.parametrize('updates', [1, 2, 4, 8])
def test_the_penalty_is_in_every_target_of_a_round(
  spec, make_config, make_batch, updates, unroll
):
  agent_config = make_config(updates, critic_learning_rate=1e-30, **_LINEAR)
  networks, algorithm = _setup(spec, agent_config)
  state = algorithm.init(jax.random.PRNGKey(0))
  zeros = jax.tree.map(np.zeros_like, state.gripper_params)
  state = state._replace(gripper_params=zeros, target_gripper_params=zeros)
  # Of four rows with reward 0.5 that end the task, 1, 2, 3, 1, ... close the
  # open gripper; the others stay.
  switched = 1 + np.arange(updates) % 3
  batch = make_batch((updates, 4))
  batch.action[..., 2] = -1.0 * (np.arange(4) < switched[:, None])
  batch = batch._replace(
    reward=np.full((updates, 4), 0.5, np.float32),
    discount=np.zeros((updates, 4), np.float32),
  )
  update = functools.partial(
    learning.update_round,
    networks=networks,
    config=CONFIG,
    agent_config=agent_config,
    unroll=unroll,
  )
  _, metrics = jax.jit(update)(state, batch, _noise(networks, agent_config))
  # The critic says 0 everywhere and all but stays like that.
  rate = switched.mean() / 4
  expected = {
    'gripper_penalty_rate': rate,
    'gripper_target_value': 0.5 - 0.25 * rate,
    'gripper_critic_loss': 0.25**2 * rate + 0.5**2 * (1 - rate),
    'target_value': 0.5,  # of SAC's critics: without the penalty
  }
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)


def test_a_round_is_the_agents_and_the_grippers_steps(
  spec, make_config, make_batch
):
  agent_config = make_config(
    3, target_rate=0.25, critic_learning_rate=1e-2, **_LINEAR
  )
  networks, algorithm = _setup(spec, agent_config)
  state = algorithm.init(jax.random.PRNGKey(0))
  batch = make_batch((3, 4))
  noise = _noise(networks, agent_config)
  static = {
    'networks': networks,
    'config': CONFIG,
    'agent_config': agent_config,
  }
  whole, _ = jax.jit(functools.partial(learning.update_round, **static))(
    state, batch, noise
  )
  plain, _ = jax.jit(sac_learning.update_round, static_argnums=(0, 1))(
    networks.agent,
    agent_config,
    state.agent,
    batch._replace(action=batch.action[..., :2]),
    noise,
  )
  # The gripper critic stands beside SAC and leaves it alone.
  _assert_close(whole.agent, plain)
  step = jax.jit(functools.partial(learning.gripper_step, **static))
  after = state
  for i in range(3):
    before = after
    after, _ = step(before, jax.tree.map(lambda x, i=i: x[i], batch))
    expected = jax.tree.map(
      lambda old, new: 0.75 * old + 0.25 * new,
      before.target_gripper_params,
      after.gripper_params,
    )
    _assert_close(after.target_gripper_params, expected)
  # States need no encoder: its parameters do not change between the steps.
  for name in ('gripper_params', 'target_gripper_params', 'gripper_optimiser'):
    _assert_close(getattr(whole, name), getattr(after, name))
  assert any(
    (x != y).any()
    for x, y in zip(
      jax.tree.leaves(state.gripper_params),
      jax.tree.leaves(whole.gripper_params),
    )
  )


def test_both_learn_from_the_augmented_batch(spec, make_config, make_batch):
  agent_config = make_config(**_LINEAR)
  networks, algorithm = _setup(spec, agent_config)

  def augment(key, batch):
    del key
    return batch._replace(
      reward=0 * batch.reward + 7, discount=0 * batch.discount
    )

  update = learning.make_algorithm(
    networks, CONFIG, agent_config, augment
  ).update
  batch = make_batch((2, 4))
  batch.action[..., 2] = 0
  _, metrics = jax.jit(update)(algorithm.init(jax.random.PRNGKey(0)), batch)
  assert metrics['target_value'] == metrics['gripper_target_value'] == 7


def _observe(place, closed):
  place, closed = np.broadcast_arrays(place, closed)
  positions = np.stack([2.0 * place - 1, np.zeros(place.shape)], axis=-1)
  return {
    'tcp_pos': positions.astype(np.float32),
    'gripper_pose': 10 * closed[..., None].astype(np.float32),
  }


def _transitions(actions, place, closed):
  """Steps a task with two places, at the second of which lies an object.

  The first entry of an action moves to a place; an open gripper that closes at
  the object ends the task with reward 1.
  """
  chosen = np.asarray(gripper.choices(actions, -0.5))
  grasped = (place == 1) & ~closed & (chosen == gripper.CLOSE)
  next_closed = np.where(
    chosen == gripper.STAY, closed, chosen == gripper.CLOSE
  )
  return types.Batch.uniform(
    types.Transition(
      observation=_observe(place, closed),
      action=actions,
      reward=grasped.astype(np.float32),
      discount=1 - grasped.astype(np.float32),
      next_observation=_observe(actions[..., 0] > 0, next_closed),
    )
  )


def _random_batches():
  random = np.random.default_rng(0)
  while True:
    actions = random.uniform(-1, 1, (4, 32, 3)).astype(np.float32)
    place = random.integers(0, 2, (4, 32))
    closed = random.uniform(size=(4, 32)) < 0.5
    yield _transitions(actions, place, closed)


def test_the_gripper_learns_to_close_at_the_right_place(spec, make_config):
  agent_config = make_config(
    updates_per_round=4,
    batch_size=32,
    hidden_sizes=(16,),
    discount=0.9,
    critic_learning_rate=1e-2,
    policy_learning_rate=1e-2,
    target_rate=0.05,
  )
  builder = hybrid.HybridBuilder(sac.SACBuilder(agent_config), CONFIG)
  networks = builder.make_networks(spec)
  learner = learner_lib.Learner(
    builder.make_algorithm(networks), jax.random.PRNGKey(0), _random_batches()
  )
  for _ in range(150):
    learner.step()
  saved = learner.save()
  learner.step()
  learner.restore(saved)
  state = learner.state
  jax.tree.map(np.testing.assert_array_equal, state, saved.state)
  policy = jax.jit(builder.make_policy(networks, evaluation=True))
  act = functools.partial(
    policy, builder.policy_params(state), jax.random.PRNGKey(0)
  )
  away_open, there_open, away_closed, there_closed = (
    act(_observe(np.array(place), np.array(closed)))
    for closed in (False, True)
    for place in (0, 1)
  )
  # From afar it goes there without closing, and is then rewarded.
  assert away_open[0] > 0 and away_open[2] >= 0
  assert there_open[2] == -1
  # A closed gripper grasps nothing: it opens.
  assert away_closed[2] == there_closed[2] == 1
  # The data move at random, so that half of the steps lead to the object. With
  # 1 - 0.25 for grasping, an open gripper that is away is worth
  # 0.9 * 0.5 * 0.75 / (1 - 0.9 * 0.5) = 0.614, and a closed one 0.25 less:
  # closing too early costs 0.614 - (0.9 * 0.364 - 0.25) = 0.536.
  embedding = networks.agent.encoder.apply(
    {}, jax.tree.map(lambda x: x[None], _observe(np.array(0), np.array(False)))
  )
  values = networks.gripper_critic.apply(state.gripper_params, embedding)[0]
  np.testing.assert_allclose(
    values[gripper.STAY] - values[gripper.CLOSE], 0.536, atol=0.1
  )
