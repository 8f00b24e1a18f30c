"""Tests for environment_loop."""

import numpy as np
import pytest

from serl import environment_loop
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
