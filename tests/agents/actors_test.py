"""Tests of actors."""

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import core
from serl import specs
from serl.agents import actors
from serl.agents import variables


class _Adder:
  """Writes down what it is given."""

  def __init__(self):
    self.calls = []

  def add_first(self, timestep):
    self.calls.append(('first', timestep))

  def add(self, action, next_timestep):
    self.calls.append((action, next_timestep))

  def reset(self):
    self.calls.clear()


class _Source:
  """Serves an offset."""

  def __init__(self):
    self.variables = core.Variables({'offset': np.float32(1)}, 1, 0.0)

  def get_variables(self, after):
    return self.variables if self.variables.learner_steps > after else None


def _noisy_policy(params, key, observation):
  noise = jax.random.uniform(key, (2,), minval=0.0, maxval=0.1)
  return params['offset'] + observation['x'] + noise


@pytest.fixture
def source():
  return _Source()


@pytest.fixture
def client(source):
  client = variables.VariableClient(source, period_s=0.0)
  yield client
  client.close()


def _make(client, seed=0, adder=None):
  key = jax.random.PRNGKey(seed)
  return actors.FeedForwardActor(_noisy_policy, key, client, adder)


OBSERVATION = {'x': np.array([10.0, 20.0], np.float32)}


@pytest.mark.parametrize('dtype', [np.float64, np.float32, np.float16])
def test_acts_in_the_dtype_of_the_environment(client, dtype):
  client.wait(30)
  spec = specs.BoundedArray((2,), dtype, -1, 1)
  key = jax.random.PRNGKey(0)
  actor = actors.FeedForwardActor(_noisy_policy, key, client, action_spec=spec)
  assert actor.select_action(OBSERVATION).dtype == dtype


def test_acts_with_its_params_and_fresh_noise(client):
  client.wait(30)
  actor = _make(client)
  first = actor.select_action(OBSERVATION)
  second = actor.select_action(OBSERVATION)
  for action in (first, second):
    assert isinstance(action, np.ndarray)
    assert action.dtype == np.float32
    assert (action >= [11, 21]).all() and (action <= [11.1, 21.1]).all()
  assert not np.array_equal(first, second)
  first += 1  # writable: a wrapper may change it in place
  same = _make(client).select_action(OBSERVATION)
  np.testing.assert_array_equal(same, first - 1)
  other = _make(client, seed=1).select_action(OBSERVATION)
  assert not np.array_equal(same, other)


def test_update_takes_newer_params(source, client):
  client.wait(30)
  actor = _make(client)
  source.variables = core.Variables({'offset': np.float32(5)}, 2, 0.0)
  while client.learner_steps != 2:
    actor.update()
  assert (actor.select_action(OBSERVATION) >= [15, 25]).all()


def test_says_that_there_are_no_params(client):
  with pytest.raises(RuntimeError, match='no policy parameters yet'):
    _make(client).select_action(OBSERVATION)


@pytest.mark.parametrize('kind', ['policy', 'random'])
def test_an_adder_sees_what_the_actor_sees(client, spec, kind):
  adder = _Adder()
  if kind == 'policy':
    actor = _make(client, adder=adder)
  else:
    actor = actors.RandomActor(spec.actions, 0, adder)
  assert isinstance(actor, core.Actor)
  first = dm_env.restart(OBSERVATION)
  last = dm_env.termination(1.0, OBSERVATION)
  action = np.zeros(2)
  actor.observe_first(first)
  actor.observe(action, last)
  assert adder.calls[0] == ('first', first)
  assert adder.calls[1][0] is action
  assert adder.calls[1][1] is last


def test_actors_work_without_an_adder(client, spec):
  for actor in (_make(client), actors.RandomActor(spec.actions, 0)):
    actor.observe_first(dm_env.restart(OBSERVATION))
    actor.observe(np.zeros(2), dm_env.transition(0.0, OBSERVATION))
    actor.update()


def test_the_random_actor_fills_the_bounds():
  spec = specs.BoundedArray((2,), np.float32, [-1.0, 5.0], [1.0, 9.0])
  actor = actors.RandomActor(spec, seed=3)
  actions = np.stack([actor.select_action(None) for _ in range(500)])
  assert actions.dtype == np.float32
  for action in actions:
    spec.validate(action)
  np.testing.assert_allclose(actions.min(axis=0), [-1, 5], atol=0.1)
  np.testing.assert_allclose(actions.max(axis=0), [1, 9], atol=0.1)
  again = actors.RandomActor(spec, seed=3).select_action(None)
  np.testing.assert_array_equal(again, actions[0])


def test_the_policy_is_compiled_once(client):
  traces = []

  def policy(params, key, observation):
    traces.append(observation['x'].shape)
    return jnp.zeros(2)

  client.wait(30)
  actor = actors.FeedForwardActor(policy, jax.random.PRNGKey(0), client)
  for _ in range(3):
    actor.select_action(OBSERVATION)
  assert traces == [(2,)]


def test_the_policy_is_compiled_before_the_first_action(client):
  traces = []

  def policy(params, key, observation):
    traces.append(observation['x'].shape)
    return jax.random.uniform(key, (2,))

  client.wait(30)
  key = jax.random.PRNGKey(0)
  actor = actors.FeedForwardActor(policy, key, client)
  actor.observe_first(dm_env.restart(OBSERVATION))
  assert traces == [(2,)]
  action = actor.select_action(OBSERVATION)
  assert traces == [(2,)]
  # No key was spent on it.
  without = actors.FeedForwardActor(policy, key, client)
  np.testing.assert_array_equal(action, without.select_action(OBSERVATION))


def test_another_actor_can_act_in_each_episode(client, spec):
  adders = [_Adder(), _Adder()]
  client.wait(30)
  random = actors.RandomActor(spec.actions, 0, adders[0])
  policy = _make(client, adder=adders[1])
  turns = iter([random, random, policy])
  actor = actors.SwitchingActor(lambda: next(turns))
  assert isinstance(actor, core.Actor)
  first = dm_env.restart(OBSERVATION)
  actor.observe_first(first)
  assert (np.abs(actor.select_action(OBSERVATION)) <= 1).all()
  assert actor.metrics() == {}
  actor.observe_first(first)
  # Not before the episode is over.
  actor.update()
  assert (actor.select_action(OBSERVATION) >= [11, 21]).all()
  assert actor.metrics()['params_step'] == 1
  assert [len(adder.calls) for adder in adders] == [1, 1]


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused_with_its_parameters(
  client, source, value
):
  source.variables = core.Variables({'offset': np.float32(value)}, 40, 0.0)
  assert client.wait(timeout=60)
  with pytest.raises(actors.NonFiniteActionError) as raised:
    _make(client).select_action({'x': np.zeros(2, np.float32)})
  assert not isinstance(raised.value, core.FaultError)
  text = str(raised.value)
  assert 'the parameters of learner step 40 gave the action' in text
  assert "of the parameters: ['offset']; of the observation: none" in text


def test_an_observation_that_is_not_finite_is_named(client):
  assert client.wait(timeout=60)
  observation = {'x': np.float32([0, np.nan]), 'image': np.zeros(3, np.uint8)}
  with pytest.raises(actors.NonFiniteActionError) as raised:
    _make(client).select_action(observation)
  assert "of the parameters: none; of the observation: ['x']" in str(
    raised.value
  )
