"""Tests of marked_success."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np

from serl.environments.wrappers import marked_success
from serl.testing import fakes

SPEC = fakes.make_state_spec()
ACTION = np.zeros(2, np.float32)


def _wrap(marks, **fields):
  """Wraps a fake; `marks` says from its end on when success is marked."""
  fields = {'episode_length': 3, 'success': 0.0, **fields}
  environment = fakes.FakeEnvironment(SPEC, **fields)
  return marked_success.MarkedSuccess(environment, marks.pop)


def test_a_mark_rewards_and_ends_the_episode():
  environment = _wrap([True, False, False])
  assert environment.reset().first()
  before = environment.step(ACTION)
  assert before.mid() and before.reward == 0 and before.discount == 1
  assert environment.step_extras()['success'] == 0
  success = environment.step(ACTION)
  assert success.last() and success.reward == 1 and success.discount == 0
  assert success.discount.dtype == SPEC.discounts.dtype
  assert environment.step_extras()['success'] == 1
  assert environment.episode_metrics()['success'] == 1


def test_what_is_marked_between_episodes_counts_for_none():
  environment = _wrap([False, True, True, False])
  environment.reset()
  assert environment.step(ACTION).last()
  assert environment.step(ACTION).first()
  assert environment.step(ACTION).mid()
  assert environment.episode_metrics()['success'] == 0


def test_without_a_mark_the_time_limit_ends_it():
  environment = _wrap([False] * 4)
  environment.reset()
  ends = [environment.step(ACTION) for _ in range(3)]
  assert ends[-1].last() and ends[-1].discount == 1
  assert sum(end.reward for end in ends) == 0
  assert environment.episode_metrics()['success'] == 0


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return _wrap(4 * [False, False, True] + 99 * [False])
