"""The SpaceMouse above a stand-in for the library that reads its reports."""

import ctypes.util
import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys

import pytest

pytest.importorskip('pyspacemouse', reason='the extra [franka] is missing')

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

  def __init__(self, library, path):
    self._path = path
    self._cable = None
    self._process = subprocess.Popen(
      [sys.executable, '-c', PROBE],
      env={'LD_LIBRARY_PATH': str(library), 'SERL_HID_SOCKET': str(path)},
      cwd=STAND_IN.parents[2],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def plug_in(self):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
      listener.bind(str(self._path))
      listener.listen()
      assert self.ask('open') == 'open'
      self._cable, _ = listener.accept()

  def unplug(self):
    self._cable.close()
    self._path.unlink()

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
