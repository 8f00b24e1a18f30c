"""Steps end at their deadlines, on a clock that the test winds."""

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.sim import pick_cube
from serl.environments.wrappers import pacing


class RealTimeTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return pacing.RealTime(
      pick_cube.PickCube(seed=0), 0.02, clock=lambda: 0.0, sleep=lambda _: None
    )


class Clock:
  """Time that passes only when somebody sleeps or works."""

  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now

  def sleep(self, duration):
    assert duration > 0
    self.now += duration


class Work(dm_env.Environment):
  """An environment whose steps take as long as the action says."""

  def __init__(self, clock):
    self._clock = clock
    self._steps = 0

  def reset(self):
    self._clock.now += 3.0
    self._steps = 0
    return dm_env.restart(np.zeros(1))

  def step(self, action):
    if self._steps == 5:
      return self.reset()
    self._clock.now += float(action)
    self._steps += 1
    make = dm_env.truncation if self._steps == 5 else dm_env.transition
    return make(0.0, np.zeros(1))

  def observation_spec(self):
    return specs.Array((1,), float)

  def action_spec(self):
    return specs.Array((), float)


@pytest.fixture(name='clock')
def make_clock():
  return Clock()


@pytest.fixture(name='environment')
def make_environment(clock):
  return pacing.RealTime(Work(clock), 0.1, clock, clock.sleep)


def test_steps_take_a_period_whatever_the_work(environment, clock):
  environment.reset()
  start = clock.now
  ends = []
  for work in (0.02, 0.09, 0.0):
    clock.now += 0.005  # the agent thinks
    environment.step(work)
    ends.append(clock.now - start)
  np.testing.assert_allclose(ends, (0.1, 0.2, 0.3))
  assert environment.episode_metrics() == {'late_steps': 0.0}


def test_a_late_step_is_counted_and_made_up_for(environment, clock):
  environment.reset()
  start = clock.now
  ends = []
  for work in (0.15, 0.01, 0.01):
    environment.step(work)
    ends.append(clock.now - start)
  np.testing.assert_allclose(ends, (0.15, 0.2, 0.3))
  assert environment.episode_metrics()['late_steps'] == 1.0


def test_a_stall_is_not_followed_by_a_rush(environment, clock):
  environment.reset()
  start = clock.now
  ends = []
  for work in (1.0, 0.01, 0.01):
    environment.step(work)
    ends.append(clock.now - start)
  np.testing.assert_allclose(ends, (1.0, 1.1, 1.2))
  assert environment.episode_metrics()['late_steps'] == 1.0


def test_each_episode_counts_anew_and_resets_are_free(environment, clock):
  environment.reset()
  for _ in range(5):
    environment.step(1.0)
  assert environment.episode_metrics()['late_steps'] == 5.0
  before = clock.now
  assert environment.step(0.0).first()
  assert clock.now == before + 3.0
  assert environment.episode_metrics()['late_steps'] == 0.0
  environment.step(0.0)
  assert clock.now == pytest.approx(before + 3.1)
  assert environment.episode_metrics()['late_steps'] == 0.0


def test_adds_to_the_metrics_of_the_environment():
  environment = pacing.RealTime(
    pick_cube.PickCube(seed=0), 0.02, clock=lambda: 0.0, sleep=lambda _: None
  )
  environment.reset()
  metrics = environment.episode_metrics()
  assert metrics['late_steps'] == 0.0
  assert metrics['success'] == 0.0


@pytest.mark.parametrize('period', [0.0, -1.0, float('nan'), float('inf')])
def test_refuses_a_period_that_is_no_time(period, clock):
  with pytest.raises(ValueError, match=f'period_s={period}'):
    pacing.RealTime(Work(clock), period)
