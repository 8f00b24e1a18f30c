"""Another's word ends an episode; its subclasses' tests show the rest."""

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import judged_success
from serl.testing import fakes

ACTION = np.zeros(2, np.float32)


class Judge(judged_success.JudgedSuccess):
  """Takes the steps for a success whose numbers it was given."""

  def __init__(self, environment, *successes):
    super().__init__(environment)
    self._successes = successes
    self.begun = self.judged = 0

  def begin(self):
    self.begun += 1

  def judge(self, observation):
    self.judged += 1
    return self.judged in self._successes


def make(*successes, **fields):
  return Judge(
    fakes.FakeEnvironment(fakes.make_state_spec(), **fields), *successes
  )


def test_every_episode_is_begun_once_however_it_begins():
  environment = make(2, episode_length=2)
  environment.step(ACTION)  # in place of a reset
  ends = []
  for begun in (1, 2, 3):
    assert environment.begun == begun
    while not (timestep := environment.step(ACTION)).last():
      pass
    ends.append((float(timestep.reward), float(timestep.discount)))
    assert environment.step(ACTION).first()
  # Neither an end of the environment's own nor its reward is a success.
  assert ends == [(1.0, 0.0), (0.0, 1.0), (0.0, 1.0)]


def test_what_its_reset_fails_with_leaves_it_over():
  environment = make(1)
  environment.reset()
  assert environment.step(ACTION).last()
  reset = environment._environment.reset

  def fail():
    raise RuntimeError('No arm.')

  environment._environment.reset = fail
  with pytest.raises(RuntimeError):
    environment.step(ACTION)
  environment._environment.reset = reset
  assert environment.step(ACTION).first()


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return make(3, 7)
