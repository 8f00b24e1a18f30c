"""How far a command may go: by the time since the arm last was led on."""

import numpy as np
import pytest

from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import watchdog as watchdog_lib

LIMITS = limits_lib.Limits()
LOOK_S = LIMITS.command_ttl / watchdog_lib.LOOKS
STEP = np.array([0.02, 0, 0, 0, 0, 0, 0])


@pytest.fixture
def governor(driver):
  return governor_lib.Governor(driver, LIMITS)


def lead(governor, driver):
  """Commands 20 mm from where the tool is; returns what is sent, m."""
  measured = driver.read_state().pose
  return governor.command(measured + STEP).pose[0] - measured[0]


def pass_time(governor, clock, seconds):
  """Has the watchdog look as often as it does."""
  end = clock.time + seconds
  while clock.time + LOOK_S < end:
    clock.time += LOOK_S
    governor.check()
  clock.time = end


@pytest.mark.parametrize('late_ms', [100, 149, 151, 155, 160, 168.76, 170, 900])
def test_a_late_command_goes_as_far_as_one_in_time(
  governor, driver, clock, late_ms
):
  lead(governor, driver)
  pass_time(governor, clock, late_ms / 1e3)
  assert lead(governor, driver) == pytest.approx(0.02)


def test_a_late_turn_goes_as_far_as_one_in_time(driver, clock):
  governor = governor_lib.Governor(driver, LIMITS)
  lead(governor, driver)
  pass_time(governor, clock, 0.151)
  half = 0.25  # rad, of half a turn by 0.5 about x
  turned = [*driver.read_state().pose[:3], np.cos(half), 0, 0, np.sin(half)]
  assert governor.command(turned).limited_by == ()


def test_a_hold_by_force_does_not_eat_the_next_command(governor, driver, clock):
  lead(governor, driver)
  clock.time += 0.1
  driver.force = np.array([0.0, 0.0, -61.0])
  governor.check()
  assert governor.command(driver.read_state().pose + STEP).limited_by == (
    'force',
  )
  driver.force = np.zeros(3)
  clock.time += 1e-3
  assert lead(governor, driver) == pytest.approx(0.02)


def test_a_hold_that_is_released_does_not_either(governor, driver, clock):
  lead(governor, driver)
  clock.time += 0.1
  governor.hold()
  governor.release()
  assert lead(governor, driver) == pytest.approx(0.02)


def test_holds_lend_no_speed(driver, clock):
  # Slow, so that what is commanded is what counts.
  limits = limits_lib.Limits(max_speed=0.1)
  governor = governor_lib.Governor(driver, limits)
  began = driver.read_state().pose[0]
  for number in range(300):
    governor.command(driver.read_state().pose + 5 * STEP)
    clock.time += 2e-3
    driver.force = np.array([0.0, 0.0, -61.0 * (number % 3 == 0)])
    governor.check()
    driver.force = np.zeros(3)
    if number % 5 == 0:
      governor.hold()
      governor.release()
  moved = driver.commands[-1][0] - began
  # Over 0.6 s, after a first command that may go as far as one's life.
  assert moved <= 0.1 * (0.6 + limits.command_ttl) + 1e-9
