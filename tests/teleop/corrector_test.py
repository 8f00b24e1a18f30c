"""A script corrects where the policy takes too long, and nowhere else."""

import numpy as np
import pytest

from serl import environment_loop
from serl.agents import actors
from serl.environments.sim import bins_relocate
from serl.environments.sim import insertion
from serl.teleop import bins_relocate as teleop_bins
from serl.teleop import corrector
from serl.teleop import insertion as teleop_insertion


@pytest.fixture(name='environment', scope='module')
def make_environment():
  environment = insertion.make(0)
  yield environment
  environment.close()


class Idle(actors.RandomActor):
  """A policy that does nothing."""

  def __init__(self, spec):
    super().__init__(spec, 0)
    self._nothing = np.zeros(spec.shape, spec.dtype)

  def select_action(self, observation):
    return self._nothing


def test_a_policy_that_takes_too_long_is_corrected(environment):
  actor = corrector.correct(
    Idle(environment.action_spec()),
    environment,
    teleop_insertion.InsertionExpert,
    patience=10,
  )
  loop = environment_loop.EnvironmentLoop(environment, actor)
  for _ in range(2):
    metrics = loop.run_episode()
    assert metrics['success'] == 1.0
    assert metrics['interventions'] == 1
    length = metrics['episode_length']
    assert metrics['intervention_length'] == length - 10
    assert metrics['intervened'] == pytest.approx((length - 10) / length)


def test_one_that_is_fast_enough_is_left_alone(environment):
  expert = teleop_insertion.InsertionExpert(environment=environment)
  actor = corrector.correct(
    expert, environment, teleop_insertion.InsertionExpert, patience=60
  )
  metrics = environment_loop.EnvironmentLoop(environment, actor).run_episode()
  assert metrics['success'] == 1.0
  assert metrics['interventions'] == 0
  assert 'intervention_length' not in metrics


def test_of_tasks_that_alternate_each_is_corrected_as_it_should_be():
  environment = bins_relocate.make_alternating()
  loops = {}
  for task in ('forward', 'backward'):
    # As a program makes them, whichever task is in work then.
    actor = corrector.correct(
      Idle(environment.action_spec()),
      environment,
      teleop_bins.BinsRelocateExpert,
      patience=3,
    )
    loops[task] = environment_loop.EnvironmentLoop(environment, actor)
  for expected in ('forward', 'backward', 'forward'):
    assert environment.next_task == expected
    metrics = loops[expected].run_episode()
    assert metrics['success'] == 1.0
    assert metrics['intervention_length'] == metrics['episode_length'] - 3
  environment.close()


def test_the_gripper_is_part_of_it(environment):
  class Closes:
    """An expert of 7 actions."""

    gripper = -1.0

    def __init__(self, environment):
      assert not hasattr(environment, 'to_tool_frame')

    def observe_first(self, timestep):
      pass

    def select_action(self, observation):
      return np.float32((0.1, 0, 0, 0, 0, 0, self.gripper))

  device = corrector.Corrector(Closes, environment, patience=1)
  assert not device.read().moves
  assert device.read().closing == 1
  Closes.gripper = 1.0
  assert device.read().closing == -1
  Closes.gripper = 0.4
  assert device.read().closing == 0


def test_refuses_negative_patience(environment):
  with pytest.raises(ValueError, match='patience=-1'):
    corrector.Corrector(teleop_insertion.InsertionExpert, environment, -1)
