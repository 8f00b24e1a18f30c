import contextlib
import dataclasses
import threading
import time

import numpy as np
import pytest

from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import watchdog as watchdog_lib

LIMITS = limits_lib.Limits()
NEAR = [0.52, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
FAR = [0.7, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def governor(driver):
  return governor_lib.Governor(driver, LIMITS)


def events(governor):
  return [event['event'] for event in governor.audit.last()]


def test_a_command_reaches_the_arm(governor, driver, clock):
  sent = governor.command(NEAR)
  clock.time += 1.0

  np.testing.assert_array_equal(driver.commands, [NEAR])
  np.testing.assert_array_equal(sent.pose, NEAR)
  assert sent.limited_by == ()
  np.testing.assert_allclose(governor.read_state().pose, NEAR, atol=1e-6)


def test_the_limits_stand_before_the_arm(governor, driver):
  sent = governor.command(FAR)

  assert sent.limited_by == ('speed', 'step')
  np.testing.assert_allclose(driver.commands[0][:3], [0.65, 0, 0.3])


def test_many_commands_at_once_are_no_faster_than_one(governor, driver, clock):
  governor.command(NEAR)
  for _ in range(100):
    clock.time += 1e-3
    governor.command([0.4, *NEAR[1:]])

  # 1.2 m/s for 0.1 s.
  assert driver.commands[-1][0] == pytest.approx(0.52 - 0.12)
  assert driver.commands[50][0] == pytest.approx(0.52 - 0.06)


@pytest.mark.parametrize(
  'call',
  [
    lambda governor: governor.command([0] * 7),
    lambda governor: governor.command([np.nan] * 7),
    lambda governor: governor.set_compliance({'rotational_Ki': 1e9}),
    lambda governor: governor.move_gripper(300),
  ],
)
def test_what_makes_no_sense_moves_nothing(governor, driver, call):
  with pytest.raises(limits_lib.CommandError):
    call(governor)

  assert driver.commands == driver.gripper.commands == []
  assert driver.compliance['rotational_Ki'] == 0
  assert 'refused' in governor.audit.last()[0]


def test_random_commands_stay_within_the_limits(governor, driver, clock):
  random = np.random.default_rng(0)
  for _ in range(500):
    pose = random.normal(size=7) * 10.0 ** random.uniform(-2, 200)
    if random.random() < 0.8:
      pose[3:] /= np.linalg.norm(pose[3:] / abs(pose).max()) * abs(pose).max()
    if random.random() < 0.1:
      pose[random.integers(7)] = random.choice([np.nan, np.inf, -np.inf])
    measured = driver.read_state().pose
    count = len(driver.commands)
    try:
      governor.command(pose.tolist())
    except limits_lib.CommandError:
      assert len(driver.commands) == count
    else:
      sent = driver.commands[-1]
      assert np.all(sent[:3] >= np.subtract(LIMITS.box_low, 1e-9))
      assert np.all(sent[:3] <= np.add(LIMITS.box_high, 1e-9))
      step = np.linalg.norm(sent[:3] - measured[:3])
      assert step <= LIMITS.max_step + 1e-9
    clock.time += random.uniform(0, 0.2)
  assert len(driver.commands) > 300


def test_without_a_fresh_command_the_arm_is_held(governor, driver, clock):
  governor.command(NEAR)
  clock.time += 0.1
  governor.check()
  assert len(driver.commands) == 1

  clock.time += 0.06
  measured = driver.read_state().pose
  governor.check()
  assert len(driver.commands) == 2
  np.testing.assert_array_equal(driver.commands[-1], measured)
  assert events(governor)[0] == 'watchdog'

  # Once: else an arm that sags would be lowered step by step.
  clock.time += 1.0
  governor.check()
  assert len(driver.commands) == 2


def test_commands_that_waited_behind_a_driver_that_hung_are_dropped(
  driver, clock
):
  freed, came = threading.Event(), set()
  read_state = driver.read_state

  def now():
    came.add(threading.current_thread())
    return clock()

  def hang():
    assert freed.wait(60)
    return read_state()

  driver.now, driver.read_state = now, hang
  governor = governor_lib.Governor(driver, LIMITS)
  refused = []

  def command():
    with pytest.raises(
      governor_lib.RefusedError, match=r'waited 1\.00 s'
    ) as why:
      governor.command(NEAR)
    refused.append(why.value.kind)

  # One that the driver keeps, one that waits for that to end.
  threads = [threading.Thread(target=command) for _ in range(2)]
  for thread in threads:
    thread.start()
  while not came.issuperset(threads):
    time.sleep(1e-3)
  clock.time += 1.0
  freed.set()
  for thread in threads:
    thread.join()

  assert refused == ['late', 'late']
  assert driver.commands == []
  assert 'waited' in governor.audit.last()[-1]['refused']
  governor.command(NEAR)
  assert len(driver.commands) == 1


def test_an_arm_that_nobody_has_commanded_is_left_alone(
  governor, driver, clock
):
  clock.time += 10.0
  governor.check()
  assert driver.commands == []


def test_a_hold_that_failed_is_tried_again(governor, driver, clock):
  governor.command(NEAR)
  driver.silent_since = clock.time
  clock.time += 1.0
  with pytest.raises(protocol.StaleStateError):
    governor.check()
  with pytest.raises(protocol.StaleStateError):
    governor.check()
  assert len(driver.commands) == 1
  # The error that goes on is recorded once.
  assert events(governor) == ['error', 'pose']

  driver.silent_since = None
  governor.check()
  assert len(driver.commands) == 2


def test_an_arm_is_held_within_a_fifth_of_a_second(governor, driver, clock):
  watchdog = watchdog_lib.Watchdog(governor)
  watchdog.close()
  governor.command(NEAR)
  commanded = clock.time
  while len(driver.commands) < 2:
    # At the worst it has looked just before the command came.
    clock.time += watchdog.period
    governor.check()
  assert 0.15 < clock.time - commanded <= 0.2


@pytest.fixture
def no_gripper(driver):
  """Has the gripper's driver fail, and with it the whole of the state."""

  def fail():
    raise protocol.GripperError('no gripper')

  read, driver.read_state = driver.read_state, fail
  driver.read_arm = lambda: read().reading()


def test_an_arm_without_its_gripper_is_held(governor, driver, no_gripper):
  governor.hold()
  np.testing.assert_allclose(driver.commands[-1], driver.read_arm().pose)


def test_the_watchdog_needs_no_gripper(governor, driver, clock, request):
  governor.command(NEAR)
  request.getfixturevalue('no_gripper')
  with pytest.raises(protocol.GripperError):
    governor.command(NEAR)
  clock.time += LIMITS.command_ttl
  governor.check()
  assert events(governor)[0] == 'watchdog'
  np.testing.assert_allclose(driver.commands[-1], driver.read_arm().pose)


def test_force_holds_an_arm_without_its_gripper(
  governor, driver, clock, request
):
  governor.command(NEAR)
  request.getfixturevalue('no_gripper')
  driver.force = np.array([0.0, 0.0, -500.0])
  governor.check()
  assert governor.audit.last()[0]['reason'] == 'force'


@pytest.mark.parametrize('between', ['start_impedance', 'move_gripper'])
def test_nothing_between_commands_lends_speed(
  driver, clock, monkeypatch, between
):
  limits = dataclasses.replace(LIMITS, max_speed=0.1)
  governor = governor_lib.Governor(driver, limits)

  def fail(position):
    raise protocol.GripperError('no gripper')

  monkeypatch.setattr(driver.gripper, 'move', fail)
  for _ in range(100):
    governor.command(FAR)
    with contextlib.suppress(protocol.GripperError):
      getattr(governor, between)(*[100] * (between == 'move_gripper'))
    clock.time += 0.01
  # A second, after the first command, which may go as far as one's life.
  assert driver.read_state().pose[0] <= 0.5 + 0.1 * (1 + LIMITS.command_ttl)


def test_an_idle_arm_is_no_healthy_one(governor, driver):
  driver.mode = 'idle'
  assert not governor.status()['ok']
  with pytest.raises(protocol.ControllerError, match='clearerr'):
    governor.command(NEAR)
  assert not driver.commands and not driver.recoveries
  governor.clear_errors()
  assert driver.recoveries == 1
  assert governor.status()['recoveries_left'] == LIMITS.max_recoveries - 1


def test_a_hold_amid_a_reset_of_the_gripper(governor, driver, monkeypatch):
  monkeypatch.setattr(driver.gripper, 'reset', governor.hold)

  with pytest.raises(governor_lib.RefusedError, match='held'):
    governor.reset_gripper()

  assert not driver.gripper.commands


def test_force_holds_the_arm(governor, driver, clock):
  governor.command(NEAR)
  clock.time += 0.01
  driver.force = np.array([0.0, 0.0, -61.0])
  governor.check()
  assert governor.audit.last()[0]['reason'] == 'force'
  np.testing.assert_array_equal(driver.commands[-1], driver.read_state().pose)

  sent = governor.command(NEAR)
  assert sent.limited_by == ('force',)
  np.testing.assert_array_equal(sent.pose, driver.read_state().pose)

  driver.force = np.zeros(3)
  clock.time += 0.1
  assert governor.command(NEAR).limited_by == ()


def test_the_hold_stays_until_it_is_released(governor, driver, clock):
  governor.command(NEAR)
  clock.time += 0.02
  measured = driver.read_state().pose
  governor.hold()
  np.testing.assert_array_equal(driver.commands[-1], measured)

  for call in (
    lambda: governor.command(NEAR),
    governor.reset_joints,
    governor.start_impedance,
    governor.clear_errors,
    lambda: governor.command_gripper('open'),
    lambda: governor.move_gripper(3),
    lambda: governor.set_compliance({'rotational_Ki': 1}),
  ):
    with pytest.raises(governor_lib.RefusedError, match='held') as caught:
      call()
    assert caught.value.kind == 'held'
  assert len(driver.commands) == 2
  assert driver.gripper.commands == []
  assert not governor.status()['ok']

  governor.release()
  governor.command(NEAR)
  assert len(driver.commands) == 3


def test_a_hold_of_a_silent_arm_is_made_good(governor, driver, clock):
  driver.silent_since = clock.time
  clock.time += 1.0
  with pytest.raises(protocol.StaleStateError):
    governor.hold()
  with pytest.raises(governor_lib.RefusedError):
    governor.command(NEAR)

  driver.silent_since = None
  governor.check()
  assert len(driver.commands) == 1


def test_a_command_that_a_hold_overtook_is_not_sent(governor, driver):
  read_state = driver.read_state
  hold = threading.Thread(target=governor.hold)

  def read():
    # Somebody presses the button while the arm is asked for its state.
    if not hold.ident:
      hold.start()
      while not governor._held:
        time.sleep(1e-3)
    return read_state()

  driver.read_state = read
  before = read_state().pose
  with pytest.raises(governor_lib.RefusedError, match='held'):
    governor.command(NEAR)
  hold.join(60)
  np.testing.assert_array_equal(driver.commands, [before])


def test_a_joint_reset_that_begins_as_a_hold_comes_is_ended(governor, driver):
  asked, begin, stops = threading.Event(), threading.Event(), []

  def reset_joints():
    asked.set()
    assert begin.wait(60)
    before = len(stops)
    give_up = time.monotonic() + 60
    while len(stops) == before:
      assert time.monotonic() < give_up, 'the joints have moved'
      time.sleep(1e-3)
    raise protocol.ControllerError('it was stopped')

  driver.reset_joints = reset_joints
  driver.stop_impedance = lambda: stops.append(None)

  def reset():
    with pytest.raises(protocol.ControllerError, match='it was stopped'):
      governor.reset_joints()
    ended.set()

  ended = threading.Event()
  thread = threading.Thread(target=reset)
  thread.start()
  assert asked.wait(60)
  governor.hold()
  # The driver has not noticed that.
  begin.set()
  watchdog = watchdog_lib.Watchdog(governor)
  thread.join(60)
  watchdog.close()
  assert ended.is_set()
  with pytest.raises(governor_lib.RefusedError, match='held'):
    governor.command(NEAR)


def test_who_starts_the_controller_does_not_end_the_watch(
  governor, driver, clock
):
  driver.start_impedance = lambda: None  # one that runs stays as it is
  governor.command(NEAR)
  governor.start_impedance()
  clock.time += LIMITS.command_ttl + 0.01
  measured = driver.read_state().pose
  governor.check()
  np.testing.assert_array_equal(driver.commands[-1], measured)
  governor.check()
  assert len(driver.commands) == 2


def test_a_release_does_not_end_the_watch(governor, driver, clock):
  governor.command(NEAR)
  driver.silent_since = clock.time
  clock.time += 1.0
  with pytest.raises(protocol.StaleStateError):
    governor.hold()
  governor.release()
  driver.silent_since = None
  measured = driver.read_state().pose
  governor.check()
  np.testing.assert_array_equal(driver.commands[1:], [measured])


@pytest.mark.parametrize('held', [False, True])
def test_an_arm_that_was_led_by_hand_is_not_pulled_back(
  governor, driver, clock, held
):
  governor.command(NEAR)
  if held:
    governor.hold()
  clock.time += 1.0
  governor.check()
  by_hand = np.array([0.4, 0.25, 0.3, 1.0, 0.0, 0.0, 0.0])
  driver._pose = driver._target = by_hand
  clock.time += 1.0
  if held:
    governor.release()
  near = by_hand + [0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0]

  sent = governor.command(near)

  np.testing.assert_array_equal(sent.pose, near)
  assert sent.limited_by == ()


def test_a_reflex_is_recovered_from_and_reported(governor, driver):
  driver.mode, driver.faults = 'reflex', ('cartesian_reflex',)

  with pytest.raises(protocol.ReflexError, match='cartesian_reflex'):
    governor.command(NEAR)

  assert driver.commands == []
  assert driver.recoveries == 1
  assert 'cartesian_reflex' in governor.status()['last_error']
  governor.command(NEAR)
  assert len(driver.commands) == 1


def test_recoveries_are_bounded_until_time_has_passed(governor, driver, clock):
  for _ in range(LIMITS.max_recoveries):
    driver.mode = 'reflex'
    with pytest.raises(protocol.ReflexError):
      governor.command(NEAR)
    clock.time += 1.1
  driver.mode = 'reflex'
  # Neither by a command nor by asking for it.
  for call in (lambda: governor.command(NEAR), governor.clear_errors):
    with pytest.raises(governor_lib.RefusedError) as caught:
      call()
    assert caught.value.kind == 'recovery_limit'
  assert driver.recoveries == LIMITS.max_recoveries
  assert governor.status()['recoveries_left'] == 0

  clock.time += LIMITS.recovery_window + 1
  governor.clear_errors()
  assert driver.mode == 'moving'


def test_a_reflex_that_takes_a_moment_is_one_recovery(governor, driver, clock):
  told = []
  driver.clear_errors = lambda: told.append(clock.time)
  driver.mode = 'reflex'
  for _ in range(15):
    with pytest.raises(protocol.ReflexError, match='being recovered'):
      governor.command(NEAR)
    governor.clear_errors()
    clock.time += 0.1
  # Who asks for it is obeyed each time; it is still one recovery a second.
  assert len(told) == 2 + 15
  assert governor.status()['recoveries_left'] == LIMITS.max_recoveries - 2


def test_a_recovery_that_had_no_effect_can_be_asked_for_again(governor, driver):
  clear, driver.clear_errors = driver.clear_errors, lambda: None
  driver.mode = 'reflex'
  governor.clear_errors()
  assert driver.mode == 'reflex'
  driver.clear_errors = clear
  governor.clear_errors()
  assert driver.mode == 'moving'
  assert governor.status()['recoveries_left'] == LIMITS.max_recoveries - 1


def test_a_reflex_after_a_recovery_is_another_one(governor, driver):
  for count in (1, 2):
    driver.mode = 'reflex'
    governor.clear_errors()
    assert driver.mode == 'moving'
    governor.read_state()
    left = governor.status()['recoveries_left']
    assert left == LIMITS.max_recoveries - count


def test_a_release_forgives_the_recoveries(driver, clock):
  limits = dataclasses.replace(LIMITS, max_recoveries=0)
  governor = governor_lib.Governor(driver, limits)
  driver.mode = 'reflex'
  with pytest.raises(governor_lib.RefusedError):
    governor.clear_errors()

  governor = governor_lib.Governor(driver, LIMITS)
  for _ in range(LIMITS.max_recoveries):
    driver.mode = 'reflex'
    governor.clear_errors()
    clock.time += 1.1
  with pytest.raises(governor_lib.RefusedError):
    driver.mode = 'reflex'
    governor.clear_errors()
  governor.release()
  driver.mode = 'reflex'
  governor.clear_errors()
  assert driver.mode == 'moving'


def test_clearing_no_error_does_not_count(governor, driver):
  for _ in range(3 * LIMITS.max_recoveries):
    governor.clear_errors()
  assert governor.status()['recoveries_left'] == LIMITS.max_recoveries


@pytest.mark.parametrize('mode', ['user_stopped', 'guiding', 'recovering'])
def test_an_arm_that_cannot_obey_is_not_commanded(governor, driver, mode):
  driver.mode = mode
  with pytest.raises(protocol.DriverError):
    governor.command(NEAR)
  assert driver.commands == []
  assert driver.recoveries == 0


@pytest.mark.parametrize(
  'part', ['pose', 'vel', 'force', 'torque', 'q', 'dq', 'jacobian']
)
def test_a_state_that_is_not_finite_is_an_error(governor, driver, part):
  state = driver.read_state()
  broken = np.full_like(getattr(state, part), np.nan)
  driver.read_state = lambda: dataclasses.replace(state, **{part: broken})
  with pytest.raises(protocol.DriverError, match='not finite'):
    governor.command(NEAR)
  assert driver.commands == []


def test_the_status_of_a_silent_arm(governor, driver, clock):
  driver.silent_since = clock.time
  clock.time += 1.0

  status = governor.status()

  assert not status['ok']
  assert status['state'] is None
  assert 'old' in status['controller']
