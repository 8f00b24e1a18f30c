"""Keys typed at a real pseudo-terminal."""

import os
import subprocess
import sys
import termios

import pytest

from serl.teleop import devices
from serl.teleop import keyboard


class Clock:
  now = 100.0

  def __call__(self):
    return self.now


@pytest.fixture(name='clock')
def make_clock():
  return Clock()


@pytest.fixture(name='terminal')
def make_terminal():
  """Both ends of a terminal: what a person types at, what a program reads."""
  typed, read = os.openpty()
  with open(read, encoding='utf-8', closefd=False) as stream:
    yield typed, stream
  os.close(typed)
  os.close(read)


@pytest.fixture(name='keys')
def make_keys(terminal, clock):
  with keyboard.Keyboard(terminal[1], clock) as keys:
    yield keys


def test_a_process_that_was_killed_leaves_the_terminal_as_it_was(terminal):
  before = termios.tcgetattr(terminal[1])
  code = (
    'import os, signal\n'
    'from serl.teleop import keyboard\n'
    'keyboard.Keyboard().__enter__()\n'
    'os.kill(os.getpid(), signal.SIGKILL)\n'
  )
  with keyboard.keeping_terminal(terminal[1]):
    subprocess.run([sys.executable, '-c', code], stdin=terminal[1])
    assert not termios.tcgetattr(terminal[1])[3] & termios.ECHO
  assert termios.tcgetattr(terminal[1]) == before


def test_what_is_no_terminal_is_left_alone(tmp_path):
  path = tmp_path / 'file'
  path.touch()
  with open(path) as stream, keyboard.keeping_terminal(stream):
    pass


def _type(terminal, text):
  os.write(terminal[0], text.encode())


def test_reads_without_enter_and_without_waiting(terminal, keys):
  assert not keys.pressed('x')
  _type(terminal, 'x')
  assert keys.pressed('x')
  assert not keys.pressed('x')


def test_no_key_is_lost_while_another_is_asked_for(terminal, keys):
  _type(terminal, 'xY\x7f')
  assert not keys.held('w')
  assert keys.pressed('\x7f') and keys.pressed('y') and keys.pressed('x')


def test_a_key_is_down_while_it_repeats(terminal, clock, keys):
  held = []
  for _ in range(10):
    _type(terminal, 'w')
    held.append(keys.held('w'))
    clock.now += 0.05
  assert all(held)
  clock.now += 0.1
  assert not keys.held('w')


def test_a_tap_lasts_as_long_as_is_asked(terminal, clock, keys):
  _type(terminal, ' ')
  assert keys.held(' ') and keys.held(' ', tap_s=0.7)
  clock.now += 0.5
  assert not keys.held(' ')
  assert keys.held(' ', tap_s=0.7)
  # Once it repeats, its release is noticed as soon as that of any other.
  _type(terminal, ' ')
  assert keys.held(' ', tap_s=0.7)
  clock.now += 0.2
  assert not keys.held(' ', tap_s=0.7)


def test_taps_apart_are_taps(terminal, clock, keys):
  for _ in range(3):
    _type(terminal, ' ')
    assert keys.held(' ', tap_s=0.7)
    clock.now += 0.6
    assert keys.held(' ', tap_s=0.7)
    clock.now += 1.0


@pytest.mark.parametrize(
  ('typed', 'motion', 'closing'),
  [
    ('w', [1, 0, 0, 0, 0, 0], 0),
    ('dR', [0, -1, 1, 0, 0, 0], 0),
    ('ws', [0, 0, 0, 0, 0, 0], 0),
    ('uil', [0, 0, 0, 1, 1, -1], 0),
    ('c', [0, 0, 0, 0, 0, 0], 1),
    ('v', [0, 0, 0, 0, 0, 0], -1),
    # The up arrow, F5 and Escape are none of ours.
    ('\x1b[A\x1bOP\x1b[15~\x1b', [0, 0, 0, 0, 0, 0], 0),
  ],
)
def test_drives_the_arm(terminal, keys, typed, motion, closing):
  _type(terminal, typed)
  command = keys.read()
  assert command.motion.tolist() == motion
  assert command.closing == closing


def test_the_arm_stops_when_the_keys_are_released(terminal, clock, keys):
  _type(terminal, 'wc')
  assert keys.read().moves
  clock.now += 0.2
  assert not keys.read().moves


def test_leaves_the_terminal_as_it_was(terminal):
  _, stream = terminal
  before = termios.tcgetattr(stream)
  with pytest.raises(KeyError), keyboard.Keyboard(stream):
    assert termios.tcgetattr(stream) != before
    raise KeyError
  assert termios.tcgetattr(stream) == before


def test_gives_the_terminal_back_once(terminal):
  before = termios.tcgetattr(terminal[1])
  keys = keyboard.Keyboard(terminal[1]).__enter__()
  assert termios.tcgetattr(terminal[1]) != before
  keys.close()
  assert termios.tcgetattr(terminal[1]) == before
  keys.close()


def test_ctrl_c_still_interrupts(terminal, keys):
  flags = termios.tcgetattr(terminal[1])[3]
  assert flags & termios.ISIG
  assert not flags & (termios.ECHO | termios.ICANON)


def test_refuses_what_is_no_terminal(tmp_path):
  path = tmp_path / 'keys'
  path.write_text('w')
  with (
    path.open() as stream,
    pytest.raises(devices.DeviceError, match='keys is no terminal'),
    keyboard.Keyboard(stream),
  ):
    pass


def test_a_terminal_that_is_gone_is_a_lost_device():
  typed, read = os.openpty()
  with open(read, encoding='utf-8') as stream:
    keys = keyboard.Keyboard(stream).__enter__()
    os.close(typed)
    with pytest.raises(devices.DeviceError, match=r'terminal .* is gone'):
      keys.read()
    keys.close()
