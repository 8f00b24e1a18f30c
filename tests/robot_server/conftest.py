"""What tests of the governor share: an arm on a clock of their own."""

import pytest

from robot_server import testing


class Clock:
  """Stands still until a test sets `time`, s."""

  def __init__(self):
    self.time = 100.0

  def __call__(self):
    return self.time


@pytest.fixture
def clock():
  return Clock()


@pytest.fixture
def driver(clock):
  return testing.KinematicDriver(now=clock)
