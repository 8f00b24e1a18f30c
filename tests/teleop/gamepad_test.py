"""The gamepad by the kernel's events, through a FIFO."""

import time

import pytest

from serl.teleop import devices
from serl.teleop import gamepad
from tests.teleop import gamepad_stand_in as stand_in

STILL = [0.0] * 6


@pytest.fixture(name='pad')
def make_pad(tmp_path):
  pad = stand_in.Pad(tmp_path / 'js0')
  yield pad
  if pad.path.exists():
    pad.unplug()


@pytest.fixture(name='open_pad')
def make_open(pad):
  """Opens the pad with the arguments of `Gamepad`, plugged in as it rests."""
  opened = []

  def open_pad(axes=None, buttons=None, **kwargs):
    pad.plug_in(
      {**stand_in.AXES, **(axes or {})}, {**stand_in.BUTTONS, **(buttons or {})}
    )
    opened.append(gamepad.Gamepad(pad.path, **kwargs))
    _await_read(pad)
    return opened[-1]

  yield open_pad
  for device in opened:
    device.close()


def _await_read(pad):
  stand_in.wait_for(lambda: not pad.unread)


def _await(device, motion, closing=0):
  """Waits until the device asks for this."""
  expected = pytest.approx(motion, abs=1e-4)

  def asks():
    command = device.read()
    return command.motion.tolist() == expected and command.closing == closing

  stand_in.wait_for(asks)


@pytest.mark.parametrize('told', [-1, 0])
def test_at_rest_nothing_is_asked_for(pad, open_pad, told):
  # Some drivers have 0, half pulled, for triggers that nobody has touched.
  triggers = dict.fromkeys(
    (stand_in.LEFT_TRIGGER, stand_in.RIGHT_TRIGGER), told
  )
  device = open_pad(triggers)
  pad.press(stand_in.A)
  _await(device, STILL, closing=1)
  # Once it is touched it tells how far it is pulled.
  pad.move(stand_in.RIGHT_TRIGGER, -0.99)
  pad.press(stand_in.A, down=False)
  _await(device, STILL)
  pad.move(stand_in.RIGHT_TRIGGER, 1)
  _await(device, [0, 0, 1, 0, 0, 0])
  pad.move(stand_in.RIGHT_TRIGGER, -1)
  _await(device, STILL)


@pytest.mark.parametrize(
  ('axis', 'motion'),
  [
    (stand_in.LEFT_Y, [1, 0, 0, 0, 0, 0]),
    (stand_in.LEFT_X, [0, 1, 0, 0, 0, 0]),
    (stand_in.RIGHT_TRIGGER, [0, 0, 1, 0, 0, 0]),
    (stand_in.LEFT_TRIGGER, [0, 0, -1, 0, 0, 0]),
    (stand_in.CROSS_Y, [0, 0, -1, 0, 0, 0]),
    (stand_in.CROSS_X, [0, 0, 0, -1, 0, 0]),
    (stand_in.RIGHT_Y, [0, 0, 0, 0, 1, 0]),
    (stand_in.RIGHT_X, [0, 0, 0, 0, 0, -1]),
  ],
)
def test_what_each_axis_asks_for(pad, open_pad, axis, motion):
  device = open_pad()
  pad.move(axis, 1)
  _await(device, motion)
  rest = stand_in.AXES[axis]
  if rest == 0:
    pad.move(axis, -1)
    _await(device, [-m for m in motion])
  pad.move(axis, rest)
  _await(device, STILL)


def test_both_ways_up_are_one(pad, open_pad):
  device = open_pad()
  pad.move(stand_in.CROSS_Y, -1)
  pad.move(stand_in.RIGHT_TRIGGER, 1)
  pad.move(stand_in.LEFT_X, 1)
  _await(device, [0, 1, 1, 0, 0, 0])
  pad.move(stand_in.LEFT_TRIGGER, 1)
  _await(device, [0, 1, 1, 0, 0, 0])
  pad.move(stand_in.CROSS_Y, 0)
  _await(device, [0, 1, 0, 0, 0, 0])


def test_what_is_held_already_when_it_is_opened_counts(open_pad):
  device = open_pad({stand_in.LEFT_X: 1}, {stand_in.A: 1})
  _await(device, [0, 1, 0, 0, 0, 0], closing=1)


def test_beyond_the_dead_zone_motion_begins_at_zero(pad, open_pad):
  device = open_pad(dead_zone=0.2)
  for value, expected in ((0.6, 0.5), (0.19, 0), (-0.28, -0.1), (-0.2, 0)):
    pad.move(stand_in.LEFT_X, value)
    _await(device, [0, expected, 0, 0, 0, 0])
  assert not device.read().moves


def test_buttons_drive_the_gripper(pad, open_pad):
  device = open_pad()
  for a, b, closing in ((1, 0, 1), (0, 1, -1), (1, 1, 0), (0, 0, 0)):
    pad.press(stand_in.A, a)
    pad.press(stand_in.B, b)
    _await(device, STILL, closing)


def test_a_click_counts_until_it_is_read(pad, open_pad):
  device = open_pad()
  pad.press(stand_in.A)
  pad.press(stand_in.A, down=False)
  pad.move(stand_in.LEFT_X, 1)
  # Asked only when all of it is told, as an arm's next step would.
  _await_read(pad)
  pad.press(stand_in.Y)
  stand_in.wait_for(device.is_marked)
  assert [device.read().closing for _ in range(2)] == [1, 0]


def test_a_button_marks_success(pad, open_pad):
  device = open_pad()
  assert not device.was_marked() and not device.is_marked()
  pad.press(stand_in.Y)
  stand_in.wait_for(device.is_marked)
  pad.press(stand_in.Y, down=False)
  stand_in.wait_for(lambda: not device.is_marked())
  assert device.was_marked()
  assert not device.was_marked()


def test_a_button_that_was_down_is_held_and_was_not_pressed(open_pad):
  device = open_pad(buttons={stand_in.Y: 1})
  stand_in.wait_for(device.is_marked)
  assert not device.was_marked()


def test_events_may_come_in_parts_and_together(pad, open_pad):
  device = open_pad()
  pushed = pad.event(2, stand_in.LEFT_Y, 32767)
  pad.send(pushed[:3])
  _await_read(pad)
  assert not device.read().moves
  pad.send(pushed[3:] + pad.event(2, stand_in.LEFT_X, -32767) + pushed[:5])
  _await(device, [1, -1, 0, 0, 0, 0])


def test_more_axes_and_buttons_than_are_known_do_no_harm(pad, open_pad):
  device = open_pad({**stand_in.AXES, 17: 0.5}, {**stand_in.BUTTONS, 20: 1})
  pad.move(17, 1)
  pad.press(21)
  pad.send(pad.event(8, 0, 1))  # of a kind that there is not yet
  pad.move(stand_in.LEFT_X, 1)
  _await(device, [0, 1, 0, 0, 0, 0])


def test_another_layout(pad, open_pad):
  layout = gamepad.Layout(
    x=gamepad.Axis(9, -1), z=None, up=None, down=None, close=12
  )
  device = open_pad({9: 0}, {12: 0}, layout=layout)
  pad.move(9, 1)
  pad.move(stand_in.CROSS_Y, 1)
  pad.press(stand_in.A)
  _await(device, [-1, 0, 0, 0, 0, 0])
  pad.press(12)
  _await(device, [-1, 0, 0, 0, 0, 0], closing=1)


def _await_error(device, pattern):
  with pytest.raises(devices.DeviceError, match=pattern):
    stand_in.wait_for(lambda: device.read() is None)


def test_a_pad_without_what_the_layout_names_moves_nothing(pad):
  pad.plug_in(dict.fromkeys(range(6), 0), {0: 0, 1: 0, 2: 0})
  device = gamepad.Gamepad(pad.path)
  _await_read(pad)
  assert not device.read().moves
  pad.move(5, -1)
  _await_error(device, 'has no button 3, axis 6, axis 7; expected an Xbox')
  device.close()


@pytest.mark.parametrize('told', [0, -650 / 32767])
def test_a_stick_in_a_triggers_place_moves_nothing(pad, told):
  # As Xbox pads by Bluetooth have it: axis 2 is a stick's.
  pad.plug_in({**stand_in.AXES, stand_in.LEFT_TRIGGER: told})
  device = gamepad.Gamepad(pad.path)
  pad.move(stand_in.LEFT_TRIGGER, -0.05)
  _await_error(device, r'no trigger at rest in axis 2.* expected an Xbox')
  device.close()


def test_notices_that_it_was_unplugged(pad, open_pad):
  device = open_pad()
  pad.move(stand_in.LEFT_X, 1)
  _await(device, [0, 1, 0, 0, 0, 0])
  pad.unplug()
  _await_error(device, 'The gamepad is gone .*No such device.* plug it in')


def test_an_error_of_the_device_is_told(tmp_path):
  device = gamepad.Gamepad(tmp_path)  # a folder: to read it fails
  _await_error(device, 'The gamepad is gone .*directory')
  device.close()


def test_says_what_to_do_where_there_is_none(pad):
  with pytest.raises(devices.DeviceError) as raised:
    gamepad.Gamepad(pad.path)
  for part in (str(pad.path), 'joydev xpad', 'input', gamepad.PATH_VARIABLE):
    assert part in str(raised.value)


def test_the_environment_says_where_it_is(pad, monkeypatch):
  monkeypatch.setenv(gamepad.PATH_VARIABLE, str(pad.path))
  with pytest.raises(devices.DeviceError, match=str(pad.path)):
    gamepad.Gamepad()


@pytest.mark.parametrize('dead_zone', [-0.1, 1.0, float('nan')])
def test_refuses_what_is_no_dead_zone(pad, dead_zone):
  with pytest.raises(ValueError, match=f'dead_zone is {dead_zone}, expected'):
    gamepad.Gamepad(pad.path, dead_zone=dead_zone)


def test_reading_leaves_the_core_to_others(open_pad):
  open_pad()
  start = time.process_time()
  time.sleep(0.2)
  assert time.process_time() - start < 0.1  # s of processor time


def test_lets_go_of_the_pad_at_rest(pad):
  pad.plug_in()
  device = gamepad.Gamepad(pad.path)
  device.close()
  with pytest.raises(devices.DeviceError, match='closed'):
    device.read()
