"""The expert inserts what it holds, always."""

import dataclasses

import dm_env
import numpy as np
import pytest

from serl import core
from serl.environments.sim import insertion
from serl.environments.wrappers import relative_frame
from serl.teleop import insertion as expert_lib

FEW = 5  # episodes of what is no promise


def run(environment, expert, episodes=FEW):
  """Returns the success of each of the episodes and the most steps of one."""
  successes, longest = [], 0
  for _ in range(episodes):
    timestep = environment.reset()
    expert.observe_first(timestep)
    steps = 0
    while not timestep.last():
      action = expert.select_action(timestep.observation)
      environment.action_spec().validate(action)
      timestep = environment.step(action)
      expert.observe(action, timestep)
      expert.update()
      steps += 1
    successes.append(float(timestep.reward))
    assert bool(timestep.reward) == environment.scene.is_successful()
    longest = max(longest, steps)
  return successes, longest


@pytest.mark.parametrize(
  'config, clearance',
  [
    (insertion.PEG, 0.001),
    (insertion.PEG, 0.0005),
    (insertion.PEG, 0.00025),
    (insertion.PCB, 0.0002),
  ],
)
def test_inserts_always(config, clearance):
  config = dataclasses.replace(config, clearance=clearance)
  environment = insertion.make(0, config)
  expert = expert_lib.InsertionExpert(environment=environment)
  successes, longest = run(environment, expert, 20)
  assert successes == [1.0] * 20
  assert longest < 60


def test_inserts_where_the_board_is():
  environment = insertion.make(
    0, dataclasses.replace(insertion.PEG, board_xy=0.03, board_yaw=0.3)
  )
  successes, _ = run(
    environment, expert_lib.InsertionExpert(environment=environment)
  )
  assert successes == [1.0] * FEW


def test_inserts_with_a_trembling_hand():
  environment = insertion.make(0)
  expert = expert_lib.InsertionExpert(0.01, 1, environment)
  successes, _ = run(environment, expert)
  assert successes == [1.0] * FEW


def test_inserts_in_the_frame_of_the_tool():
  environment = insertion.make(
    0, dataclasses.replace(insertion.PEG, board_xy=0.03, board_yaw=0.3)
  )
  environment = relative_frame.RelativeFrame(environment)
  expert = expert_lib.InsertionExpert(environment=environment)
  successes, _ = run(environment, expert)
  assert successes == [1.0] * FEW


class Bench:
  """A scene with a tool that points straight down, and its target."""

  part = insertion.SQUARE_PEG
  task = insertion.PEG.task
  target = np.array((0.5, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0))

  def __init__(self, *offset):
    self.scene = self
    self.put(*offset)

  def put(self, *offset):
    """Puts the tool beside the target, m."""
    self.tool_pose = self.target + (*offset, 0, 0, 0, 0)


def act(bench):
  return expert_lib.InsertionExpert(environment=bench).select_action({})


def test_it_is_an_actor():
  expert = expert_lib.InsertionExpert(environment=Bench(0, 0, 0))
  assert isinstance(expert, core.Actor)


def test_it_aligns_before_it_lowers():
  # It aligns 33 mm above the target, 3 mm above the board.
  action = act(Bench(0.01, 0, 0.033))
  np.testing.assert_allclose(action, (-0.5, 0, 0, 0, 0, 0), atol=1e-6)
  action = act(Bench(0.0001, 0, 0.033))
  np.testing.assert_allclose(action, (-0.005, 0, -0.075, 0, 0, 0), atol=1e-6)
  # Inside, the hole leads it: straight to the target.
  action = act(Bench(0.0001, 0, 0.01))
  np.testing.assert_allclose(action, (-0.005, 0, -0.5, 0, 0, 0), atol=1e-6)


def test_it_keeps_the_direction_of_what_is_too_far():
  action = act(Bench(0.04, 0.03, 0.033))
  np.testing.assert_allclose(action, (-0.8, -0.6, 0, 0, 0, 0), atol=1e-6)


def test_it_turns_the_tool():
  bench = Bench(0, 0, 0.1)
  half = 0.02  # half of a turn about the base's z
  bench.tool_pose[3:] = (np.cos(half), np.sin(half), 0.0, 0.0)
  np.testing.assert_allclose(act(bench)[3:], (0, 0, -0.4), atol=1e-6)


def test_an_episode_begins_afresh():
  bench = Bench(0, 0, 0.033)
  expert = expert_lib.InsertionExpert(environment=bench)
  expert.select_action({})
  bench.put(0.0005, 0, 0.0325)
  # It has begun to lower the peg and goes on.
  lowered = expert.select_action({})
  assert lowered[2] < 0
  expert.observe_first(dm_env.restart({}))
  np.testing.assert_array_equal(expert.select_action({}), act(bench))
  assert act(bench)[2] > 0


def test_refuses_negative_noise_and_no_environment():
  with pytest.raises(ValueError, match=r'noise=-0\.1'):
    expert_lib.InsertionExpert(noise=-0.1)
  with pytest.raises(ValueError, match='environment=None'):
    expert_lib.InsertionExpert()
