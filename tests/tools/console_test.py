"""The console and the recording tools on it, also at a real pseudo-terminal."""

import contextlib
import os
import pty
import re
import select
import signal
import sys
import termios

import imageio.v2 as imageio
import numpy as np
import pytest

from serl.demos import files
from serl.environments.sim import pick_cube
from serl.environments.sim import rendering
from serl.tools import console
from serl.tools import record_demos
from serl.tools import record_transitions


class Terminal:
  """A tool in a terminal of its own."""

  def __init__(self, *arguments):
    self.text = ''
    self._pid, self._fd = pty.fork()
    if self._pid == 0:
      os.execv(sys.executable, [sys.executable, '-m', *arguments])

  def type(self, keys):
    os.write(self._fd, keys.encode())

  def mode(self):
    return termios.tcgetattr(self._fd)[3]

  def read_until(self, pattern, typing=''):
    """Reads on until `pattern` has come, typing keys meanwhile."""
    while not re.search(pattern, self.text):
      if typing:
        self.type(typing)
      if select.select([self._fd], [], [], 0.05)[0]:
        chunk = self._read()
        assert chunk, f'ended before it said {pattern!r}: {self.text}'
        self.text += chunk

  def wait(self):
    """Reads to the end and returns the exit code."""
    while chunk := self._read():
      self.text += chunk
    return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

  def _read(self):
    try:
      return os.read(self._fd, 4096).decode()
    except OSError:  # Linux' way to say that the tool has ended
      return ''

  def close(self):
    """Hangs up, which ends a tool that has not."""
    os.close(self._fd)


@pytest.fixture(name='start')
def start_terminals():
  started = []

  def start(*arguments):
    started.append(Terminal(*arguments))
    return started[-1]

  yield start
  for terminal in started:
    terminal.close()


def _actions(folder):
  return [files.read(path)[0].action for path in files.paths(folder)]


def test_ctrl_c_and_backspace_at_a_terminal(start, tmp_path):
  tool = start(
    'serl.tools.record_demos', 'pick_cube', f'--out={tmp_path}', '--episodes=99'
  )
  before = tool.mode()
  tool.read_until('episodes 2 of 99')
  tool.type('\x7f')
  # The expert does not fail: the count stands still when one was deleted.
  tool.read_until(r'episodes (\d+) of 99, .*\s+episodes \1 of 99')
  tool.type('\x03')
  assert tool.wait() == 128 + signal.SIGINT
  assert tool.mode() == before
  kept = len(files.paths(tmp_path))
  assert f'episodes {kept} of 99 in {tmp_path}' in tool.text
  assert 'the same command goes on' in tool.text
  assert 'Traceback' not in tool.text


def test_a_person_drives_and_labels_by_keys(start, tmp_path):
  tool = start(
    'serl.tools.record_transitions',
    'pick_cube',
    f'--out={tmp_path}',
    '--device=keyboard',
    '--steps-per-second=100',
    '--no-preview',
    '--successes=20',
    '--failures=20',
    '--scale=0.5',
  )
  tool.read_until('Space, held')
  assert not tool.mode() & termios.ICANON
  tool.read_until('successes 0 of 20, failures 100 of 20', typing='w')
  tool.read_until(f' in {tmp_path}', typing=' c')
  assert tool.wait() == 0
  actions = np.concatenate(_actions(tmp_path))
  assert actions.max(axis=0) == pytest.approx([0.5, 0, 0, 0.95])
  assert actions.min(axis=0) == pytest.approx([0, 0, 0, 0])
  labels = [
    files.read(path)[0].extras['success'] for path in files.paths(tmp_path)
  ]
  assert sum(labels[0]) == 0 and sum(labels[-1]) >= 20


@pytest.fixture(name='short')
def make_episodes_short(monkeypatch):
  """Lets PickCube with images have 4 steps and succeed at once."""
  try:
    rendering.choose_backend()
  except rendering.RenderingUnavailableError as error:
    pytest.skip(f'no OpenGL: {error}')
  monkeypatch.delenv('DISPLAY', raising=False)
  config = pick_cube.Config(
    cameras=('front', 'wrist'), episode_steps=4, success_lift=-0.01
  )
  monkeypatch.setitem(console.tasks.VISION, 'pick_cube_vision', config)


def test_records_images_and_shows_them(short, tmp_path, capsys):
  arguments = ['pick_cube_vision', f'--out={tmp_path}', '--size=16']
  assert record_demos.main([*arguments, '--episodes=2']) == 0
  assert f'episodes 2 of 2 in {tmp_path}' in capsys.readouterr().out
  episode, metadata = files.read(files.paths(tmp_path)[1])
  assert episode.observation['wrist'].shape == (5, 16, 16, 3)
  assert episode.extras['success'].tolist() == [1] * 4
  assert metadata['actor'] == 'PickCubeExpert'
  assert imageio.imread(tmp_path / 'preview.png').shape == (16, 32, 3)
  # They are labelled too, so they count here, and the tool goes on with them.
  arguments += ['--successes=12', '--failures=0']
  assert record_transitions.main(arguments) == 0
  assert len(files.paths(tmp_path)) == 3


def test_a_person_without_a_display_gets_a_picture(short, tmp_path):
  environment = pick_cube.make()
  with contextlib.ExitStack() as stack:
    show = console._make_preview(stack, environment, tmp_path, person=True)
    show(environment.reset())
  environment.close()
  assert imageio.imread(tmp_path / 'preview.png').shape == (480, 640, 3)


def test_a_person_with_a_display_gets_the_viewer(monkeypatch, tmp_path):
  syncs = []

  class Viewer:
    def sync(self):
      syncs.append(1)

  monkeypatch.setenv('DISPLAY', ':7')
  monkeypatch.setattr(
    'mujoco.viewer.launch_passive',
    lambda model, data: contextlib.nullcontext(Viewer()),
  )
  environment = pick_cube.make()
  with contextlib.ExitStack() as stack:
    show = console._make_preview(stack, environment, tmp_path, person=True)
    show(environment.reset())
  assert syncs == [1]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['nonsense'], "Unknown task 'nonsense'; expected one of pick_cube"),
    (['pick_cube', '--size=8'], "'pick_cube' shows no images"),
    (['pick_cube', '--noise=-1'], 'noise=-1.0; expected'),
    (['pick_cube', '--steps-per-second=0'], '0 is not more than 0'),
    (['pick_cube', '--device=keyboard'], 'is no terminal'),
  ],
)
def test_bad_arguments_are_named(tmp_path, capsys, arguments, message):
  with pytest.raises(SystemExit) as ended:
    record_demos.main([*arguments, f'--out={tmp_path}'])
  assert ended.value.code == 2
  assert message in capsys.readouterr().err


def test_needs_a_folder(capsys):
  with pytest.raises(SystemExit):
    record_transitions.main(['pick_cube'])
  assert '--out' in capsys.readouterr().err
