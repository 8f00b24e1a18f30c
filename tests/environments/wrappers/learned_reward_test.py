"""Tests of learned_reward."""

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import learned_reward
from serl.testing import fakes

SPEC = fakes.make_image_spec()
ACTION = np.zeros(2, np.float32)


class Classifier:
  """Gives out probabilities and remembers what it was asked."""

  def __init__(self, *probabilities):
    self._probabilities = list(probabilities)
    self.seen = []

  def __call__(self, observation):
    self.seen.append(observation)
    return self._probabilities.pop(0)


def _wrap(*probabilities, threshold=0.5, **fields):
  fields = {'episode_length': 3, 'success': 1.0, **fields}
  environment = fakes.FakeEnvironment(SPEC, **fields)
  classifier = Classifier(*probabilities)
  wrapped = learned_reward.LearnedReward(environment, classifier, threshold)
  return wrapped, classifier


def test_success_rewards_and_ends_the_episode():
  environment, classifier = _wrap(0.1, 0.9)
  assert environment.reset().first()
  before = environment.step(ACTION)
  assert before.mid() and before.reward == 0 and before.discount == 1
  success = environment.step(ACTION)
  assert success.last() and success.reward == 1 and success.discount == 0
  assert success.reward.dtype == np.float32
  assert success.discount.dtype == SPEC.discounts.dtype
  assert len(classifier.seen) == 2
  assert classifier.seen[1] is success.observation


def test_the_next_step_begins_an_episode():
  environment, _ = _wrap(0.9, 0.1)
  environment.reset()
  environment.step(ACTION)
  assert environment.step(ACTION).first()
  assert environment.episode_metrics()['learned_success'] == 0
  assert environment.step(ACTION).mid()


def test_other_ends_stay_as_they_are():
  environment, _ = _wrap(0.1, 0.2, 0.3)
  environment.reset()
  steps = [environment.step(ACTION) for _ in range(3)]
  # A time limit: the reward of the environment itself is dropped.
  assert steps[-1].last() and steps[-1].discount == 1
  assert [step.reward for step in steps] == [0, 0, 0]
  environment, _ = _wrap(0.1, episode_length=1, terminate=True)
  environment.reset()
  assert environment.step(ACTION).discount == 0


def test_the_threshold_itself_is_no_success():
  environment, _ = _wrap(0.75, threshold=0.75)
  environment.reset()
  assert environment.step(ACTION).reward == 0


def test_tells_both_successes():
  environment, _ = _wrap(0.3, 0.8, 0.1, threshold=0.9)
  environment.reset()
  for _ in range(3):
    environment.step(ACTION)
  assert environment.episode_metrics() == {
    'success': 1.0,
    'learned_success': 0.0,
    'success_probability': 0.8,
  }


@pytest.mark.parametrize('threshold', [-0.1, 1.0, float('nan')])
def test_refuses_a_threshold_that_is_none(threshold):
  with pytest.raises(ValueError, match='threshold is'):
    _wrap(threshold=threshold)


@pytest.mark.parametrize('probability', [float('nan'), 1.1, -3.0])
def test_refuses_what_is_no_probability(probability):
  environment, _ = _wrap(probability)
  environment.reset()
  with pytest.raises(ValueError, match=f'gave {probability} as'):
    environment.step(ACTION)


class EnvironmentTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  """The contract of dm_env, with a success now and then."""

  def make_object_under_test(self) -> dm_env.Environment:
    rng = np.random.default_rng(0)
    return learned_reward.LearnedReward(
      fakes.FakeEnvironment(SPEC, episode_length=5), lambda x: rng.random(), 0.8
    )

  def make_action_sequence(self):
    yield from [ACTION] * 40
