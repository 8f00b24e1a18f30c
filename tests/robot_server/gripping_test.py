"""The gripper's commands, a hold, and the wait for the fingers."""

import threading

import pytest

from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import watchdog as watchdog_lib

NEAR = [0.52, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
LIMITS = limits_lib.Limits()
COMMANDS = [
  lambda governor: governor.move_gripper(100),
  lambda governor: governor.command_gripper('open'),
  lambda governor: governor.command_gripper('close'),
  lambda governor: governor.command_gripper('activate'),
  lambda governor: governor.reset_gripper(),
]


@pytest.fixture
def governor(driver):
  return governor_lib.Governor(driver, LIMITS)


@pytest.mark.parametrize('command', COMMANDS)
def test_a_hold_between_check_and_act_is_honoured(
  governor, driver, monkeypatch, command
):
  gate, demand_free = governor._gate, governor._gate.demand_free
  checks = []

  def hold_after(*args):
    demand_free(*args)
    checks.append(1)
    if len(checks) == 2:
      # Somebody presses the button now.
      thread = threading.Thread(target=governor.hold)
      thread.start()
      while not governor.status()['held']:
        pass

  monkeypatch.setattr(gate, 'demand_free', hold_after)
  with pytest.raises(governor_lib.RefusedError, match='held'):
    command(governor)
  assert driver.gripper.commands == []


def test_a_hold_waits_for_a_command_that_is_being_given(
  governor, driver, monkeypatch
):
  begun, go_on, done = threading.Event(), threading.Event(), []
  close = driver.gripper.close

  def slowly():
    begun.set()
    assert go_on.wait(60)
    close()
    done.append('closed')

  monkeypatch.setattr(driver.gripper, 'close', slowly)
  # A busy machine may take longer than a hold waits.
  monkeypatch.setattr('robot_server.gripping._HOLD_S', 60.0)
  closing = threading.Thread(target=governor.command_gripper, args=('close',))
  closing.start()
  assert begun.wait(60)

  def hold():
    governor.hold()
    done.append('held')

  holding = threading.Thread(target=hold)
  holding.start()
  while not governor.status()['held']:
    pass
  # The arm does not wait for that.
  while not driver.commands:
    pass
  go_on.set()
  closing.join(60)
  holding.join(60)
  assert done == ['closed', 'held']


def test_a_gripper_that_hangs_keeps_one_thread(governor, driver, monkeypatch):
  begun, freed = threading.Event(), threading.Event()

  def hang():
    begun.set()
    assert freed.wait(60)

  monkeypatch.setattr(driver.gripper, 'close', hang)
  thread = threading.Thread(target=governor.command_gripper, args=('close',))
  thread.start()
  assert begun.wait(60)
  with pytest.raises(protocol.GripperError, match='does not return'):
    governor.command_gripper('open')
  governor.hold()
  freed.set()
  thread.join(60)
  assert driver.gripper.commands == []


def look(governor, clock, seconds):
  """Has the watchdog look as often as it does; returns why it held the arm."""
  for _ in range(round(seconds / LIMITS.command_ttl * watchdog_lib.LOOKS)):
    clock.time += LIMITS.command_ttl / watchdog_lib.LOOKS
    governor.check()
  return [
    event['reason']
    for event in governor.audit.last()
    if event['event'] == 'watchdog'
  ]


def test_the_wait_for_the_fingers_is_no_silence(governor, driver, clock):
  governor.command(NEAR)
  governor.command_gripper('close')
  assert look(governor, clock, 0.7) == []
  assert driver.read_state().pose[0] == pytest.approx(NEAR[0], abs=1e-3)
  # A client that is gone is noticed afterwards.
  assert look(governor, clock, 0.3) == ['no command within 0.15 s']


def test_the_wait_for_the_fingers_ends_with_the_next_command(
  governor, driver, clock
):
  governor.command_gripper('close')
  governor.command(NEAR)
  assert look(governor, clock, 0.2) == ['no command within 0.15 s']


def test_the_wait_for_the_fingers_does_not_begin_after_a_hold(governor, clock):
  governor.command(NEAR)
  assert look(governor, clock, 0.2) == ['no command within 0.15 s']
  governor.command_gripper('close')
  assert look(governor, clock, 1.0) == ['no command within 0.15 s']


def test_force_is_looked_for_while_the_fingers_move(governor, driver, clock):
  governor.command(NEAR)
  governor.command_gripper('close')
  driver.force[2] = -61.0
  assert look(governor, clock, 0.1) == ['force']


def test_a_command_that_failed_is_not_waited_for(
  governor, driver, clock, monkeypatch
):
  def fail():
    raise protocol.GripperError('no gripper')

  monkeypatch.setattr(driver.gripper, 'close', fail)
  governor.command(NEAR)
  with pytest.raises(protocol.GripperError):
    governor.command_gripper('close')
  assert look(governor, clock, 0.2)
