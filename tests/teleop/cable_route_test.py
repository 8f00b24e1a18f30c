"""The expert routes the cable, always, unless it shall miss."""

import dataclasses

import numpy as np
import pytest

from serl import core
from serl.environments.sim import cable_route
from serl.environments.wrappers import relative_frame
from serl.teleop import cable_route as expert_lib

FEW = 4  # episodes of what is no promise
# Its resets are quicker than the real arm's.
QUICK = dataclasses.replace(
  cable_route.STATE,
  task=dataclasses.replace(
    cable_route.STATE.task,
    settle_seconds=0.1,
    lift_seconds=0.5,
    move_seconds=0.8,
  ),
)


def run(environment, expert, episodes=FEW):
  """Returns the success of each of the episodes."""
  successes = []
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
    assert steps < 40
  return successes


def test_routes_always():
  environment = cable_route.make(0, QUICK)
  expert = expert_lib.CableRouteExpert(environment=environment)
  assert isinstance(expert, core.Actor)
  assert run(environment, expert, 20) == [1.0] * 20


def test_routes_with_a_trembling_hand_in_the_frame_of_the_tool():
  config = dataclasses.replace(QUICK, clip_xy=0.03, clip_yaw=0.3)
  environment = relative_frame.RelativeFrame(cable_route.make(0, config))
  expert = expert_lib.CableRouteExpert(0.05, 1, environment)
  assert run(environment, expert) == [1.0] * FEW


class Bench:
  """A tool that points straight down, and its target."""

  target = np.array((0.5, 0.0, 0.03, 1.0, 0.0, 0.0, 0.0))
  task = dataclasses.replace(
    cable_route.STATE.task, action_scale=(0.05, 0.3, 1)
  )

  def __init__(self, *offset):
    self.tool_pose = self.target + (*offset, 0, 0, 0, 0)
    self.scene = self


def act(bench, **kwargs):
  return expert_lib.CableRouteExpert(environment=bench, **kwargs).select_action(
    {}
  )


def test_it_aligns_before_it_presses():
  # 35 mm above the target the cable is over the clip.
  action = act(Bench(0.01, 0, 0.035))
  np.testing.assert_allclose(action, (-0.2, 0, 0, 0, 0, 0), atol=1e-6)
  action = act(Bench(0.001, 0, 0.008))
  np.testing.assert_allclose(action, (-0.02, 0, -0.2, 0, 0, 0), atol=1e-6)
  # What slipped aside is lifted and aligned anew.
  action = act(Bench(0, 0.02, 0.005))
  np.testing.assert_allclose(action, (0, -0.4, 0.6, 0, 0, 0), atol=1e-6)


def test_it_keeps_the_direction_of_what_is_too_far():
  action = act(Bench(0.08, 0.06, 0.035))
  np.testing.assert_allclose(action, (-0.8, -0.6, 0, 0, 0, 0), atol=1e-6)


def test_a_miss_is_near_and_never_below():
  aims = []
  for seed in range(50):
    action = act(Bench(0, 0, 0), miss=0.01, seed=seed)
    aims.append(action[:3] * 0.05)
  aims = np.array(aims)
  assert (np.abs(aims[:, :2]) <= 0.01 + 1e-6).all()
  assert np.ptp(aims[:, :2], axis=0).min() > 0.015
  # It lifts where it is not aligned; see above.
  assert (aims[:, 2] >= -0.002 - 1e-6).all() and aims[:, 2].max() > 0.03


def test_every_episode_misses_anew():
  expert = expert_lib.CableRouteExpert(environment=Bench(0, 0, 0.1), miss=0.01)
  first = expert.select_action({})
  np.testing.assert_array_equal(first, expert.select_action({}))
  expert.observe_first(None)
  assert (first != expert.select_action({})).any()


def test_refuses_what_it_cannot_act_on():
  with pytest.raises(ValueError, match=r'noise=-0\.1'):
    expert_lib.CableRouteExpert(noise=-0.1)
  with pytest.raises(ValueError, match=r'miss=-0\.1'):
    expert_lib.CableRouteExpert(miss=-0.1)
  with pytest.raises(ValueError, match='environment=None'):
    expert_lib.CableRouteExpert()
