"""Tests of cycle_time."""

from absl.testing import absltest
from dm_env import test_utils

from serl import specs
from serl.environments.wrappers import cycle_time
from serl.testing import fakes

SPEC = fakes.make_state_spec()
ACTION = specs.zeros_like(SPEC.actions)


class _Succeeds(fakes.FakeEnvironment):
  """Succeeds for good at one step of each episode, none for 0."""

  control_timestep = 0.02

  def __init__(self, at: int):
    super().__init__(SPEC)
    self._at = at

  def episode_metrics(self):
    return {'success': float(bool(self._at) and self._step >= self._at)}


def _run_episode(environment):
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(ACTION)
  return environment.episode_metrics()


def test_tells_when_the_episode_first_succeeded():
  environment = cycle_time.CycleTime(_Succeeds(at=4))
  for _ in range(2):  # the second episode is timed from its own beginning
    metrics = _run_episode(environment)
    assert metrics == {'success': 1.0, 'cycle_steps': 4, 'cycle_s': 0.08}


def test_tells_nothing_of_an_episode_without_success():
  environment = cycle_time.CycleTime(_Succeeds(at=4))
  _run_episode(environment)
  environment.reset()
  assert environment.episode_metrics() == {'success': 0.0}
  assert _run_episode(cycle_time.CycleTime(_Succeeds(at=0))) == {'success': 0.0}


def test_passes_by_what_tells_no_success():
  environment = cycle_time.CycleTime(fakes.FakeEnvironment(SPEC))
  assert _run_episode(environment) == {}


class CycleTimeTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return cycle_time.CycleTime(fakes.FakeEnvironment(SPEC))


def test_takes_the_clock_of_dm_control():
  inner = _Succeeds(at=4)
  inner.control_timestep = lambda: 0.02
  metrics = _run_episode(cycle_time.CycleTime(inner))
  assert metrics['cycle_s'] == 0.08
