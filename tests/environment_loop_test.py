"""Tests for environment_loop."""

import dm_env
import numpy as np
import pytest

from serl import core
from serl import environment_loop
from serl.replay import adders
from serl.testing import fakes
from serl.utils import counting


class _Records:
  def __init__(self):
    self.written = []

  def write(self, metrics):
    self.written.append(metrics)

  def close(self):
    pass


def _make(episode_length=3, counter=None, **kwargs):
  spec = fakes.make_state_spec()
  environment = fakes.FakeEnvironment(spec, episode_length, **kwargs)
  actor, records = fakes.FakeActor(spec), _Records()
  loop = environment_loop.EnvironmentLoop(environment, actor, counter, records)
  return loop, actor, records


def _after(polls):
  """Returns a should_stop that is True from the call after `polls` on."""
  left = iter([False] * polls)
  return lambda: next(left, True)


def test_calls_the_actor_in_the_order_of_its_contract():
  loop, actor, _ = _make(episode_length=2)
  loop.run_episode()
  step = ['select_action', 'observe', 'update']
  assert actor.calls == ['observe_first', *step, *step]


def test_reports_each_episode():
  loop, _, records = _make(episode_length=3, success=1.0)
  metrics = loop.run_episode()
  loop.run_episode()
  assert records.written[0] == metrics
  assert metrics['episode_length'] == 3
  assert metrics['success'] == 1.0
  assert metrics['steps_per_second'] > 0
  assert [r['env_steps'] for r in records.written] == [3, 6]
  assert [r['episodes'] for r in records.written] == [1, 2]


def test_the_return_is_the_sum_of_the_rewards():
  loop, _, _ = _make(episode_length=4, seed=7)
  spec = fakes.make_state_spec()
  twin = fakes.FakeEnvironment(spec, episode_length=4, seed=7)
  twin.reset()
  action = np.zeros(2, np.float32)
  expected = sum(float(twin.step(action).reward) for _ in range(4))
  assert loop.run_episode()['episode_return'] == pytest.approx(expected)


def test_tells_no_success_where_the_environment_does_not():
  loop, _, _ = _make()
  assert 'success' not in loop.run_episode()


def test_reports_what_the_actor_tells():
  loop, actor, _ = _make()
  actor.metrics = lambda: {'params_age': 0.5}
  assert loop.run_episode()['params_age'] == 0.5


def test_goes_on_counting_from_a_given_counter():
  counter = counting.Counter()
  counter.restore({'env_steps': 100, 'episodes': 10})
  loop, _, _ = _make(counter=counter)
  assert loop.run_episode()['env_steps'] == 103
  assert counter.get('episodes') == 11


def test_runs_a_number_of_episodes():
  loop, _, records = _make()
  loop.run(num_episodes=4)
  assert len(records.written) == 4


def test_finishes_the_episode_in_which_the_steps_are_reached():
  loop, _, records = _make(episode_length=3)
  loop.run(num_steps=7)
  assert records.written[-1]['env_steps'] == 9


def test_stops_within_a_step_and_drops_the_unfinished_episode():
  counter = counting.Counter()
  loop, actor, records = _make(episode_length=5, counter=counter)
  # One poll before the first episode, 5 in it, one before the second.
  loop.run(should_stop=_after(9))
  assert actor.calls.count('select_action') == 5 + 2
  assert len(records.written) == 1
  assert counter.get('env_steps') == 5


def test_does_nothing_where_it_should_stop_at_once():
  loop, actor, _ = _make()
  loop.run(should_stop=lambda: True)
  assert actor.calls == []


class _Failing(fakes.FakeEnvironment):
  """Raises in the given calls of reset and step, counted from 0 together."""

  def __init__(self, failing, episode_length=3):
    super().__init__(fakes.make_state_spec(), episode_length)
    self._failing = set(failing)
    self._calls = 0

  def _call(self, method, *args):
    self._calls += 1
    if self._calls - 1 in self._failing:
      raise core.FaultError('the camera is unplugged')
    return method(*args)

  def reset(self):
    return self._call(super().reset)

  def step(self, action):
    return self._call(super().step, action)


class _Recording(fakes.FakeActor):
  """Stores its episodes."""

  def __init__(self):
    super().__init__(fakes.make_state_spec())
    self.episodes = []
    self._adder = adders.EpisodeAdder([self.episodes.append])

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    self._adder.add_first(timestep)

  def observe(self, action, next_timestep: dm_env.TimeStep) -> None:
    self._adder.add(action, next_timestep)


def test_nothing_is_reset_while_the_actor_is_not_prepared():
  spec = fakes.make_state_spec()
  environment, order = fakes.FakeEnvironment(spec, 2), []

  class Actor(fakes.FakeActor):
    def prepare(self):
      order.append('prepare')
      if len(order) < 3:
        raise core.FaultError('unplugged')

  reset = environment.reset
  environment.reset = lambda: (order.append('reset'), reset())[1]
  loop = environment_loop.EnvironmentLoop(
    environment, Actor(spec), sleep=lambda seconds: None
  )
  assert loop.run_episode()['faults'] == 2
  assert order == ['prepare', 'prepare', 'prepare', 'reset']


def test_after_a_fault_nothing_of_the_episode_is_stored_and_it_goes_on():
  waits, actor, counter = [], _Recording(), counting.Counter()
  loop = environment_loop.EnvironmentLoop(
    # In the second step of the first episode, then in two attempts to reset.
    _Failing(failing=(2, 3, 4)),
    actor,
    counter,
    sleep=waits.append,
  )

  metrics = loop.run_episode()

  assert metrics['faults'] == 3
  assert metrics['episode_length'] == 3
  assert [episode.length for episode in actor.episodes] == [3]
  assert counter.get('env_steps') == 3
  # 0.5 s, then twice as long, then twice as long again.
  assert sum(waits) == pytest.approx(0.5 + 1.0 + 2.0)


def test_the_arm_is_held_at_once_where_an_actor_fails():
  spec = fakes.make_state_spec()
  environment, order = fakes.FakeEnvironment(spec, 2), []
  environment.hold = lambda: order.append('hold')

  class Actor(fakes.FakeActor):
    def select_action(self, observation):
      order.append('act')
      if len(order) == 2:
        raise core.FaultError('unplugged')
      return super().select_action(observation)

  loop = environment_loop.EnvironmentLoop(
    environment, Actor(spec), sleep=lambda seconds: order.append('wait')
  )
  loop.run_episode()
  assert order[:4] == ['act', 'act', 'hold', 'wait']


def test_tells_no_faults_where_there_were_none():
  loop, _, _ = _make()
  assert 'faults' not in loop.run_episode()


def test_the_wait_after_faults_has_a_limit():
  waits = []
  loop = environment_loop.EnvironmentLoop(
    _Failing(failing=range(10)), _Recording(), sleep=waits.append
  )
  loop.run_episode()
  # 0.5, 1, 2 and 4 s, then 5 s each.
  assert sum(waits) == pytest.approx(7.5 + 6 * 5.0)


def test_stops_while_it_waits_for_what_failed():
  waits = []
  loop = environment_loop.EnvironmentLoop(
    _Failing(failing=range(1000)), _Recording(), sleep=waits.append
  )
  assert loop.run_episode(_after(3)) is None
  assert len(waits) == 3


def _faulty(failing, **kwargs):
  """Returns a loop whose clock goes on by what it waits, and its records."""
  clock, told, records = [0.0], [], _Records()

  def sleep(seconds):
    clock[0] += seconds

  loop = environment_loop.EnvironmentLoop(
    _Failing(failing),
    _Recording(),
    logger=records,
    sleep=sleep,
    on_fault=told.append,
    now=lambda: clock[0],
    **kwargs,
  )
  return loop, told, records


def test_each_fault_is_shown_while_it_lasts():
  loop, told, records = _faulty(failing=(2, 3))
  loop.run_episode()
  text = 'the camera is unplugged'
  assert [(f.text, f.count) for f in told[:-1]] == [(text, 1), (text, 2)]
  assert told[0].since == told[1].since > 0
  assert told[-1] is None
  first, second, episode = records.written
  assert [r['faults'] for r in records.written] == [1, 2, 2]
  assert first['fault'] == second['fault'] == text
  assert second['fault_s'] >= 0 and first['env_steps'] == 0
  assert 'fault' not in episode


def test_a_robot_that_fails_for_ever_ends_the_run():
  loop, told, _ = _faulty(failing=range(10_000), fault_limit_s=600.0)
  with pytest.raises(environment_loop.FaultLimitError) as raised:
    loop.run_episode()
  assert 'No step has succeeded for 60' in str(raised.value)
  assert 'The last fault: the camera is unplugged' in str(raised.value)
  assert isinstance(raised.value.__cause__, core.FaultError)
  assert told[-1].count > 100


def test_a_good_step_begins_the_limit_anew():
  # Each reset works, and each episode's second step fails: 0.5 to 5 s apart.
  failing = range(2, 300, 3)
  loop, told, _ = _faulty(failing=failing, fault_limit_s=20.0)
  assert loop.run_episode(_after(5000)) is None or told[-1] is None
  assert max(f.count for f in told if f is not None) > 50


def test_without_a_limit_it_tries_for_ever():
  loop, told, _ = _faulty(failing=range(1000))
  loop.run_episode()
  assert told[-2].count == 1000


def test_another_error_ends_the_run():
  loop, actor, _ = _make()
  actor.select_action = lambda observation: np.zeros(3, np.float32)
  with pytest.raises(ValueError, match='shape'):
    loop.run_episode()
