"""An arm without dynamics, in time that passes only while somebody sleeps."""

import dataclasses

import pytest

from robot_server import testing
from serl.environments.franka import config as config_lib
from serl.environments.franka import environment
from serl.environments.franka import robot

# The tool points down and may be anywhere in half a metre.
CONFIG = config_lib.Config(
  target=(0.5, 0.0, 0.2, 3.14, 0.0, 0.0),
  reset=(0.5, 0.0, 0.3, 3.14, 0.0, 0.0),
  pose_low=(0.3, -0.2, 0.1, 2.8, -0.4, -0.5),
  pose_high=(0.7, 0.2, 0.5, 3.2, 0.4, 0.5),
  action_scale=(0.02, 0.1, 1.0),
  threshold=(0.01, 0.01, 0.01, 0.2, 0.2, 0.2),
  compliance=config_lib.Compliance(translational_clip_x=0.003),
  episode_steps=5,
)


class SteppedClock:
  """Time that passes only while somebody sleeps."""

  def __init__(self):
    self.time = 100.0

  def now(self):
    return self.time

  def sleep_until(self, deadline):
    self.time = max(self.time, deadline)


@pytest.fixture
def clock():
  return SteppedClock()


@pytest.fixture
def driver(clock):
  return testing.KinematicDriver(now=clock.now)


@pytest.fixture
def make(clock, driver):
  """Returns what makes an environment, with changes to the config."""

  def make(devices=None, seed=0, **changes):
    return environment.FrankaEnvironment(
      dataclasses.replace(CONFIG, **changes),
      robot.LocalRobot(driver),
      devices or {},
      clock,
      seed,
    )

  return make
