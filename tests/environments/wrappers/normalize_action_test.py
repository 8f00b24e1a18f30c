"""Ends go to ends, the middle to the middle."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import specs
from serl.environments.wrappers import normalize_action
from serl.testing import fakes


def _spec(minimum, maximum):
  actions = specs.BoundedArray((2,), np.float32, minimum, maximum, 'action')
  return fakes.make_state_spec()._replace(actions=actions)


class NormalizeActionTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(_spec([-3.0, 0.1], [0.3, 0.7]))
    return normalize_action.NormalizeAction(environment)


class _Recorder(fakes.FakeEnvironment):
  def step(self, action):
    self.action = action
    return dm_env.transition(0.0, None)


@pytest.mark.parametrize(
  ('given', 'executed'),
  [
    ([-1, -1], [0, -4]),
    ([0, 0], [5, -3]),
    ([1, 1], [10, -2]),
    ([0.5, -0.5], [7.5, -3.5]),
  ],
)
def test_scales_to_the_bounds(given, executed):
  recorder = _Recorder(_spec([0, -4], [10, -2]))
  normalize_action.NormalizeAction(recorder).step(np.float32(given))
  assert recorder.action.tolist() == executed
  assert recorder.action.dtype == np.float32


def test_the_spec_is_from_minus_1_to_1():
  environment = normalize_action.NormalizeAction(_Recorder(_spec(0.0, 5.0)))
  assert environment.action_spec() == specs.BoundedArray(
    (2,), np.float32, -1, 1, 'action'
  )


@pytest.mark.parametrize('maximum', [np.inf, None])
def test_refuses_actions_without_bounds(maximum):
  spec = _spec(0.0, maximum or 1.0)
  if maximum is None:
    spec = spec._replace(actions=specs.Array((2,), np.float32))
  with pytest.raises(ValueError, match='real numbers with finite bounds'):
    normalize_action.NormalizeAction(fakes.FakeEnvironment(spec))


def test_refuses_whole_numbers():
  actions = specs.BoundedArray((2,), np.int32, 0, 10, 'action')
  spec = fakes.make_state_spec()._replace(actions=actions)
  with pytest.raises(ValueError, match='expected one array of real numbers'):
    normalize_action.NormalizeAction(fakes.FakeEnvironment(spec))


def test_ends_are_the_bounds_exactly():
  spec = fakes.make_state_spec()
  bounds = specs.BoundedArray((2,), np.float64, -0.1, 3.0, 'action')
  recorder = _Recorder(spec._replace(actions=bounds))
  environment = normalize_action.NormalizeAction(recorder)
  for end, executed in ((-1.0, -0.1), (1.0, 3.0)):
    environment.step(np.full(2, end))
    assert recorder.action.tolist() == [executed] * 2
