"""The SpaceMouse above a stand-in for the library that reads its reports."""

import contextlib
import ctypes.util
import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip('pyspacemouse', reason='the extra [franka] is missing')

from serl.teleop import spacemouse

STAND_IN = pathlib.Path(__file__).parent / 'hidapi_stand_in.c'

# Answers each line of its input by one of JSON.
PROBE = """
import json, sys, time
from serl.teleop import devices, spacemouse

def answer(question):
  global mouse
  if question == 'open':
    mouse = spacemouse.SpaceMouse()
    return 'open'
  if question == 'read':
    command = mouse.read()
    return [command.motion.tolist(), command.closing, command.moves]
  if question == 'close':
    mouse.close()
    return 'closed'
  if question == 'begin an episode':
    return mouse.begin_episode()
  start = time.process_time()
  time.sleep(0.5)
  return time.process_time() - start

for line in sys.stdin:
  try:
    said = answer(line.strip())
  except devices.DeviceError as error:
    said = f'DeviceError: {error}'
  print('answer', json.dumps(said), flush=True)
"""


@pytest.fixture(name='library', scope='module')
def compile_library(tmp_path_factory):
  """The folder of a library that is found in the real one's place."""
  compiler = shutil.which('cc')
  if compiler is None:
    pytest.skip('no C compiler to build the stand-in for libhidapi with')
  name = ctypes.util.find_library('hidapi-hidraw')
  if name is None:
    pytest.skip('no library to stand in for: apt-get install libhidapi-hidraw0')
  folder = tmp_path_factory.mktemp('library')
  command = [compiler, '-shared', '-fPIC', f'-Wl,-soname,{name}']
  subprocess.run([*command, '-o', folder / name, STAND_IN], check=True)
  return folder


class Mouse:
  """A SpaceMouse that the test moves, and a process that reads it."""

  def __init__(self, library, path, interfaces=1, **environment):
    self.paths = [path.with_name(f'{path.name}{i}') for i in range(interfaces)]
    self._cable = None  # of the interface that the mouse talks through
    self.cables = []
    self._process = subprocess.Popen(
      [sys.executable, '-c', PROBE],
      env={
        'LD_LIBRARY_PATH': str(library),
        'SERL_HID_SOCKET': ':'.join(map(str, self.paths)),
        **environment,
      },
      cwd=STAND_IN.parents[2],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def plug_in(self, talks=0, opened=None):
    """Plugs the mouse in.

    Args:
      talks: the interface that the mouse talks through.
      opened: the interfaces that are read; all by default.
    """
    with contextlib.ExitStack() as stack:
      listeners = []
      for path in self.paths:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listeners.append(stack.enter_context(listener))
        listener.bind(str(path))
        listener.listen()
      assert self.ask('open') == 'open'
      opened = range(len(self.paths)) if opened is None else opened
      self.cables = [listeners[i].accept()[0] for i in opened]
    self._cable = self.cables[talks]

  def unplug(self):
    for cable in self.cables:
      cable.close()
    for path in self.paths:
      path.unlink()

  def ask(self, question):
    self._process.stdin.write(question + '\n')
    self._process.stdin.flush()
    for line in self._process.stdout:
      if line.startswith('answer '):
        return json.loads(line.removeprefix('answer '))
    raise AssertionError('the process that reads the mouse has died')

  def await_answer(self, question, expected):
    """Asks until the thread has read what was sent."""
    for _ in range(2000):
      said = self.ask(question)
      if expected(said):
        return said
    raise AssertionError(f'never as expected, at last {said}')

  def move(self, x=0, y=0, z=0, rx=0, ry=0, rz=0):
    """Sends the two reports of its six axes, in [-350, 350]."""
    self._cable.send(struct.pack('<Bhhh', 1, x, y, z))
    self._cable.send(struct.pack('<Bhhh', 2, rx, ry, rz))

  def press(self, left=False, right=False):
    self._cable.send(struct.pack('<BH', 3, left + 2 * right))

  def close(self):
    self._process.stdin.close()
    assert self._process.wait(timeout=60) == 0
    self._process.stdout.close()


@pytest.fixture(name='unplugged', scope='module')
def make_mouse(library, tmp_path_factory):
  mouse = Mouse(library, tmp_path_factory.mktemp('mouse') / 'hid')
  yield mouse
  mouse.close()


@pytest.fixture(name='mouse')
def plug_in_mouse(unplugged):
  unplugged.plug_in()
  yield unplugged
  assert unplugged.ask('close') == 'closed'
  unplugged.unplug()


def test_maps_axes_and_buttons(mouse):
  assert mouse.ask('read') == [[0.0] * 6, 0, False]

  # Its raw axes are to the right, towards the user and down. The users' driver
  # of SERL gets x, -y, -z, -ry, -rx, rz for them, and its action is
  # (-y, x, z, -roll, -pitch, -yaw) of these.
  mouse.move(x=70, y=35, z=-105, rx=140, ry=175, rz=-210)
  expected = [0.1, 0.2, 0.3, 0.5, 0.4, 0.6]
  said = mouse.await_answer('read', lambda s: s[0] == pytest.approx(expected))
  assert said[1:] == [0, True]

  mouse.move()
  mouse.await_answer('read', lambda said: said == [[0.0] * 6, 0, False])
  for left, right, closing in ((1, 0, 1), (0, 1, -1), (1, 1, 0), (0, 0, 0)):
    mouse.press(left, right)
    mouse.await_answer('read', lambda said, closing=closing: said[1] == closing)


def test_a_click_counts_until_it_is_read(mouse):
  mouse.press(left=True)
  mouse.press()
  mouse.ask('rest for half a second')
  assert [mouse.ask('read')[1] for _ in range(2)] == [1, 0]


def test_saturates(mouse):
  mouse.move(x=500, z=500)
  mouse.await_answer('read', lambda said: said[0] == [0, 1, -1, 0, 0, 0])


def test_a_mouse_that_falls_silent_moves_nothing(mouse):
  mouse.move(x=70)
  mouse.await_answer('read', lambda said: said[2])
  mouse.ask('rest for half a second')
  assert mouse.ask('read') == [[0.0] * 6, 0, False]


def test_reading_leaves_the_core_to_others(mouse):
  assert mouse.ask('rest for half a second') < 0.25  # s of processor time


def test_notices_that_it_was_unplugged(unplugged):
  unplugged.plug_in()
  unplugged.move(x=70)
  unplugged.await_answer('read', lambda said: said[2])
  unplugged.unplug()
  said = unplugged.await_answer('read', lambda said: isinstance(said, str))
  assert 'The SpaceMouse is gone' in said and 'plug it in' in said
  assert unplugged.ask('close') == 'closed'


def test_says_what_to_do_where_there_is_none(unplugged):
  said = unplugged.ask('open')
  assert 'No connected' in said
  assert 'libhidapi-hidraw0' in said and '/dev/hidraw*' in said


@contextlib.contextmanager
def _drifting(mouse, *counts):
  """Has a mouse report these counts of x in turn, without an end."""
  ended = threading.Event()

  def report():
    number = 0
    while not ended.wait(0.01):
      mouse.move(x=counts[number % len(counts)])
      number += 1

  thread = threading.Thread(target=report)
  thread.start()
  yield
  ended.set()
  thread.join()


def _moves(mouse):
  """Returns in how many of some reads, half a second apart, it moves."""
  seen = []
  for _ in range(3):
    mouse.ask('rest for half a second')
    seen.append(mouse.ask('read')[2])
  return sum(seen)


def _comes_to_rest(mouse):
  """Returns whether it moves no more; a busy machine measures for longer."""
  return any(_moves(mouse) == 0 for _ in range(20))


@pytest.mark.parametrize('counts', [(1, 2), (-2, 2, 0), (5, 6), (20, 17)])
def test_a_mouse_that_drifts_at_rest_moves_nothing(mouse, counts):
  with _drifting(mouse, *counts):
    # The mouse was silent before, for as long as this machine was busy.
    mouse.ask('begin an episode')
    assert _comes_to_rest(mouse)
  # A hand moves it from there.
  with _drifting(mouse, counts[0] + 70):
    moved = mouse.await_answer('read', lambda said: said[2])[0]
  assert moved[1] == pytest.approx(0.2, abs=0.01)


def test_a_drift_that_comes_later_ends_with_the_episode(mouse):
  with _drifting(mouse, 0):
    assert _moves(mouse) == 0
  with _drifting(mouse, 6, 7):
    mouse.await_answer('read', lambda said: said[2])
    mouse.ask('begin an episode')
    assert _comes_to_rest(mouse)


def test_a_hand_on_it_while_it_is_opened_is_no_drift(mouse):
  with _drifting(mouse, 70):
    mouse.ask('rest for half a second')
    said = mouse.await_answer('read', lambda said: said[2])
    assert said[0][1] == pytest.approx(0.2)
  with _drifting(mouse, 0):
    assert mouse.ask('rest for half a second')
    assert mouse.ask('read')[0] == [0.0] * 6


class TestRest:
  """Where a mouse rests, by its axes at times."""

  @pytest.fixture
  def rest(self):
    return spacemouse._Rest(2.0)

  def see(self, rest, *counts, begin=0.0):
    for number, x in enumerate(counts):
      rest.see(np.array([x, 0, 0, 0, 0, 0.0]), begin + 0.2 * number)

  def beyond(self, rest, x):
    return rest.beyond(np.array([x, 0, 0, 0, 0, 0.0]))[0]

  def test_nothing_small_counts_until_it_is_known(self, rest):
    assert self.beyond(rest, 20) == 0 and self.beyond(rest, 60) == 60
    self.see(rest, 0, 0, 0, 0)
    assert self.beyond(rest, 20) == 20
    assert [self.beyond(rest, x) for x in (2, -2, 3)] == [0, 0, 3]

  def test_a_hand_that_wavers_is_no_rest(self, rest):
    self.see(rest, 20, 30, 20, 30, 20, 30)
    assert self.beyond(rest, 20) == 0  # not yet known
    self.see(rest, 0, 0, 0, 0, begin=5.0)
    assert self.beyond(rest, 20) == 20

  def test_what_it_varies_by_widens_the_dead_zone(self, rest):
    self.see(rest, 10, 14, 10, 14)
    assert [self.beyond(rest, x) for x in (9, 15, 16)] == [0, 0, 4]

  def test_what_was_measured_holds_while_it_is_measured_again(self, rest):
    self.see(rest, 10, 10, 10, 10)
    rest.begin()
    assert self.beyond(rest, 10) == 0 and self.beyond(rest, 20) == 10
    self.see(rest, 60, 60, 60, 60, begin=5.0)  # a hand
    assert self.beyond(rest, 10) == 0

  @pytest.mark.parametrize('dead_zone', [0.001, 1, float('nan')])
  def test_a_dead_zone_below_two_counts_is_refused(self, dead_zone):
    with pytest.raises(ValueError, match='expected 2 counts or more'):
      spacemouse._Rest(dead_zone)


@pytest.fixture(name='receiver')
def make_receiver(library, tmp_path):
  receiver = Mouse(library, tmp_path / 'hid', interfaces=3)
  yield receiver
  assert receiver.ask('close') == 'closed'
  receiver.close()


def test_of_a_receiver_the_interface_that_talks_is_read(receiver):
  receiver.plug_in(talks=2)
  # The keys of another interface are no buttons of the mouse.
  receiver.cables[0].send(struct.pack('<BH', 3, 1))
  receiver.ask('rest for half a second')
  assert receiver.ask('read') == [[0.0] * 6, 0, False]

  receiver.move(x=70)
  said = receiver.await_answer('read', lambda said: said[2])
  assert said[0] == pytest.approx([0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
  receiver.press(left=True)
  receiver.await_answer('read', lambda said: said[1] == 1)
  # The others are let go of.
  assert [cable.recv(1) for cable in receiver.cables[:2]] == [b'', b'']
  receiver.unplug()
  said = receiver.await_answer('read', lambda said: isinstance(said, str))
  assert 'The SpaceMouse is gone' in said


def test_a_receiver_that_loses_one_interface_goes_on(receiver):
  receiver.plug_in(talks=1)
  receiver.cables[0].close()
  receiver.ask('rest for half a second')
  assert receiver.ask('read') == [[0.0] * 6, 0, False]
  receiver.move(x=70)
  receiver.await_answer('read', lambda said: said[2])
  receiver.unplug()


def test_a_receiver_that_is_unplugged_before_it_talks_is_noticed(receiver):
  receiver.plug_in()
  receiver.unplug()
  said = receiver.await_answer('read', lambda said: isinstance(said, str))
  assert 'The SpaceMouse is gone' in said


def test_the_environment_chooses_the_interface(library, tmp_path):
  chosen = tmp_path / 'hid1'
  receiver = Mouse(
    library, tmp_path / 'hid', interfaces=3, SERL_SPACEMOUSE=str(chosen)
  )
  said = receiver.ask('open')
  assert str(chosen) in said and 'does not exist' in said
  receiver.plug_in(opened=[1])
  receiver.move(x=70)
  receiver.await_answer('read', lambda said: said[2])
  assert receiver.ask('close') == 'closed'
  receiver.unplug()
  receiver.close()


def test_a_path_that_is_no_mouse_lists_those_that_are(library, tmp_path):
  other = tmp_path / 'keyboard'
  other.touch()
  receiver = Mouse(
    library, tmp_path / 'hid', interfaces=2, SERL_SPACEMOUSE=str(other)
  )
  for path in receiver.paths:
    path.touch()
  said = receiver.ask('open')
  assert 'No HID device found' in said
  assert all(str(path) in said for path in receiver.paths)
  receiver.close()
