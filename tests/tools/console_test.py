"""The console and the recording tools on it, also at a real pseudo-terminal."""

import contextlib
import itertools
import os
import pathlib
import pty
import re
import select
import signal
import sys
import termios

import imageio.v2 as imageio
import numpy as np
import pytest

from robot_server import testing
from serl import environment_loop
from serl.demos import files
from serl.environments.franka import assembly
from serl.environments.franka import robot as robot_lib
from serl.environments.franka import tasks as robot_tasks
from serl.environments.sim import insertion
from serl.environments.sim import opengl
from serl.environments.sim import pick_cube
from serl.environments.sim import wrist_cameras
from serl.programs import arm as arm_program
from serl.teleop import devices
from serl.teleop import gamepad
from serl.teleop import insertion as insertion_expert
from serl.teleop import keyboard
from serl.tools import console
from serl.tools import record_demos
from serl.tools import record_transitions
from tests.teleop import gamepad_stand_in


class Terminal:
  """Python in a terminal of its own."""

  def __init__(self, *arguments):
    self.text = ''
    self._pid, self._fd = pty.fork()
    if self._pid == 0:
      os.execv(sys.executable, [sys.executable, *arguments])

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

  def start(tool, *arguments):
    how = ('-c',) if '\n' in tool else ('-m',)
    started.append(Terminal(*how, tool, *arguments))
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
  tool.read_until(
    r'episodes (\d+) of 99, .*\s+Deleted the .*\s+episodes \1 of 99'
  )
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


def test_a_person_drives_and_labels_by_a_gamepad(monkeypatch, tmp_path, capsys):
  pad = gamepad_stand_in.Pad(tmp_path / 'js0')
  monkeypatch.setenv(gamepad.PATH_VARIABLE, str(pad.path))
  pad.plug_in()
  pad.move(gamepad_stand_in.LEFT_X, -1.0)
  pad.press(gamepad_stand_in.A)
  pad.press(gamepad_stand_in.Y)
  typed, read = os.openpty()
  with open(read, encoding='utf-8') as stdin:
    monkeypatch.setattr(sys, 'stdin', stdin)
    code = record_transitions.main(
      [
        'pick_cube',
        f'--out={tmp_path / "out"}',
        '--device=gamepad',
        '--steps-per-second=1000',
        '--no-preview',
        '--successes=5',
        '--failures=0',
        '--scale=0.5',
      ]
    )
  os.close(typed)
  pad.unplug()
  assert code == 0
  printed = capsys.readouterr().out
  assert gamepad.HELP in printed
  last = files.paths(tmp_path / 'out')[-1]
  assert f'The last one is {last}; to do it over, delete it' in printed
  episode, metadata = files.read(files.paths(tmp_path / 'out')[0])
  assert metadata['actor'] == 'DeviceActor'
  assert episode.action[-1].tolist() == pytest.approx([0, -0.5, 0, 0.95])
  assert episode.extras['success'][-1] == 1


def test_a_press_of_either_marks_success_once(tmp_path):
  pad = gamepad_stand_in.Pad(tmp_path / 'js0')
  pad.plug_in()
  typed, read = os.openpty()
  with (
    open(read, encoding='utf-8') as stream,
    keyboard.Keyboard(stream) as keys,
    contextlib.closing(gamepad.Gamepad(pad.path)) as opened,
  ):
    marks = console.Marks(keys, lambda: opened)
    assert not marks.was_marked()
    os.write(typed, b' ')
    assert marks.was_marked() and marks.is_marked()
    assert not marks.was_marked()
    pad.press(gamepad_stand_in.Y)
    gamepad_stand_in.wait_for(marks.was_marked)
    # Both at once are one mark.
    pad.press(gamepad_stand_in.Y, down=False)
    gamepad_stand_in.wait_for(lambda: not opened.is_marked())
    pad.press(gamepad_stand_in.Y)
    gamepad_stand_in.wait_for(opened.is_marked)
    os.write(typed, b' ')
    assert marks.was_marked()
    assert not marks.was_marked()
  os.close(typed)
  pad.unplug()


@pytest.fixture(name='opengl')
def skip_without_opengl():
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(f'no OpenGL: {error}')


@pytest.fixture(name='short')
def make_episodes_short(opengl, monkeypatch):
  """Lets PickCube with images have 4 steps and succeed at once."""
  monkeypatch.delenv('DISPLAY', raising=False)

  def make(seed, image_size):
    config = pick_cube.Config(
      cameras=('front', 'wrist'), image_size=image_size, episode_steps=4
    )
    # The config refuses it.
    object.__setattr__(config, 'success_lift', -0.01)
    return pick_cube.make_vision(seed, config)

  monkeypatch.setitem(console.tasks.TASKS, 'pick_cube_vision', make)


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
    show = console._make_preview(stack, environment, tmp_path, simulated=True)
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
    show = console._make_preview(stack, environment, tmp_path, simulated=True)
    show(environment.reset())
  assert syncs == [1]


_HUNG = """
import ctypes, signal, sys
from serl.environments.sim import tasks
from serl.environments.wrappers import base
from serl.tools import record_demos

class Environment(base.EnvironmentWrapper):
  def step(self, action):
    {call}

make = tasks.make
tasks.make = lambda *arguments: Environment(make(*arguments))
sys.exit(record_demos.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
  ('call', 'code'),
  [
    ('while True: pass', 2),
    # In C, which no signal interrupts.
    (
      'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]);'
      'ctypes.CDLL(None).sleep(600)',
      1,
    ),
  ],
)
def test_a_step_that_never_returns_ends_the_recording(
  start, tmp_path, call, code
):
  arguments = ('pick_cube', f'--out={tmp_path}', '--step-limit=0.5')
  tool = start(_HUNG.format(call=call), *arguments)
  before = tool.mode()
  assert tool.wait() == code
  assert 'record_demos: environment.step has not returned for' in tool.text
  assert tool.mode() == before


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['nonsense'], "Unknown task 'nonsense'; expected one of "),
    (['pick_cube', '--size=8'], "'pick_cube' shows no images"),
    (['pick_cube', '--noise=-1'], 'noise=-1.0; expected'),
    (['pick_cube', '--steps-per-second=0'], '0 is not more than 0'),
    (['pick_cube', '--episodes=-1'], '--episodes: -1; expected at least 1'),
    (['pick_cube', '--device=keyboard'], 'is no terminal'),
    (['peg_insert', '--robot'], 'on the real arm use --device=spacemouse'),
    (['pick_cube', '--device=gamepad'], 'is no terminal'),
    (['pick_cube', '--robot', '--device=keyboard'], 'is no terminal'),
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


def test_records_the_twins_task(tmp_path, capsys):
  assert (
    record_demos.main(['peg_insert', f'--out={tmp_path}', '--episodes=1']) == 0
  )
  episode, metadata = files.read(files.paths(tmp_path)[0])
  assert metadata['actor'] == 'InsertionExpert'
  assert episode.reward[-1] == 1.0
  assert 'episodes 1 of 1' in capsys.readouterr().out


class Hand:
  """A device that an expert moves, as a person would: along the base's axes."""

  def __init__(self, scene):
    self.scene = scene
    self._expert = insertion_expert.InsertionExpert(environment=self)
    self.closed = False
    self.typed = None  # the end of the terminal that a person types at

  def read(self):
    return devices.Command(self._expert.select_action({}), 0)

  def close(self):
    self.closed = True


@pytest.fixture(name='arm')
def serve_an_arm(monkeypatch, tmp_path):
  """Yields the FILE.py of a task on an arm behind a server, and the hand.

  The arm is the twin, on a stepped clock that the environment shares.
  """
  scene = insertion.Insertion()
  hand = Hand(scene)
  monkeypatch.setattr(robot_lib, 'take_precedence', lambda: True)
  monkeypatch.setattr(robot_lib, 'RealTimeClock', lambda: scene.twin.clock)
  monkeypatch.setattr(console.opening, 'open_device', lambda name: hand)
  token = 'of sixteen characters'
  (tmp_path / 'token').write_text(f'{token}\n')
  typed, read = os.openpty()
  hand.typed = typed
  with contextlib.ExitStack() as stack:
    stack.callback(os.close, typed)
    stdin = stack.enter_context(open(read, encoding='utf-8'))
    monkeypatch.setattr(sys, 'stdin', stdin)
    url = stack.enter_context(testing.serving(scene.twin, token=token))
    task = tmp_path / 'my_peg.py'
    task.write_text(
      'import dataclasses\n'
      'from serl.environments.franka.tasks import peg_insert\n'
      f'CONFIG = dataclasses.replace(peg_insert.STATE, url={url!r})\n'
    )
    yield (
      [
        str(task),
        '--robot',
        f'--token-file={tmp_path / "token"}',
        '--device=spacemouse',
        '--scale=1',
        f'--out={tmp_path / "out"}',
      ],
      hand,
    )


def test_a_person_demonstrates_on_the_real_arm(arm, tmp_path, capsys, caplog):
  arguments, hand = arm
  assert record_demos.main([*arguments, '--episodes=2']) == 0
  assert 'episodes 2 of 2' in capsys.readouterr().out
  assert hand.closed
  assert 'could not be told to stay' not in caplog.text
  spec = assembly.make_spec(robot_tasks.load(arguments[0]))
  for path in files.paths(tmp_path / 'out'):
    episode, metadata = files.read(path, spec)
    assert metadata['actor'] == 'DeviceActor'
    assert episode.reward[-1] == 1.0
    assert episode.extras['success'][-1] == 1
    # Down along the base's z is ahead of a tool that points down.
    assert episode.action[:, 2].max() > 0.9


def test_recording_goes_on_after_the_mouse_was_unplugged(
  arm, tmp_path, monkeypatch, caplog
):
  arguments, hand = arm
  monkeypatch.setattr(environment_loop, '_FIRST_WAIT_S', 0.0)
  read, reads = hand.read, itertools.count(1)
  missed = iter(2 * [devices.DeviceError('there is no mouse')])

  def read_until_unplugged():
    if next(reads) == 5:
      raise devices.DeviceError('the mouse is gone')
    return read()

  def open_again(name):
    for error in missed:
      raise error
    return hand

  open_first = iter([hand])
  monkeypatch.setattr(hand, 'read', read_until_unplugged)
  monkeypatch.setattr(
    console.opening,
    'open_device',
    lambda name: next(open_first, None) or open_again(name),
  )
  assert record_demos.main([*arguments, '--episodes=1']) == 0
  assert 'dropped' in caplog.text and 'the mouse is gone' in caplog.text
  # It was looked for before every other try.
  assert caplog.text.count('there is no mouse') == 2
  episode, _ = files.read(files.paths(tmp_path / 'out')[0])
  # All of it was done by hand, none of it before the mouse was gone.
  assert next(reads) == 1 + 5 + episode.length


def test_a_person_says_what_success_is_where_no_pose_tells(
  arm, tmp_path, capsys, monkeypatch
):
  arguments, hand = arm
  task = pathlib.Path(arguments[0])
  task.write_text(task.read_text().replace('url=', 'threshold=None, url='))
  read, reads = hand.read, itertools.count(1)

  def read_and_press():
    if next(reads) % 7 == 0:
      os.write(hand.typed, b' ')
    return read()

  monkeypatch.setattr(hand, 'read', read_and_press)
  assert record_demos.main([*arguments, '--episodes=2']) == 0
  assert 'Space: this is success' in capsys.readouterr().out
  for path in files.paths(tmp_path / 'out'):
    episode, _ = files.read(path)
    assert episode.reward.tolist() == [0.0] * 6 + [1.0]
    assert episode.discount[-1] == 0
    assert episode.extras['success'].tolist() == [0] * 6 + [1]


def test_a_person_labels_on_the_real_arm(arm, tmp_path):
  arguments, _ = arm
  assert (
    record_transitions.main([*arguments, '--successes=0', '--failures=5']) == 0
  )
  episode, _ = files.read(files.paths(tmp_path / 'out')[0])
  # The space bar was never held, whatever the pose says.
  assert episode.extras['success'].sum() == 0
  assert 'command_time' in episode.extras


def test_a_camera_for_the_reward_is_in_no_demonstration(
  opengl, arm, tmp_path, monkeypatch
):
  arguments, hand = arm
  task = pathlib.Path(arguments[0])
  task.write_text(
    f'{task.read_text()}'
    'from serl.environments.franka import config\n'
    'CONFIG = dataclasses.replace(CONFIG, image_size=8, cameras=(\n'
    '  config.CameraConfig("wrist_1", "1"),\n'
    '  config.CameraConfig("wrist_2", "2", for_reward=True)))\n'
  )
  make_camera = lambda camera, size: wrist_cameras.WristCamera(
    hand.scene.twin, camera.name, size, size
  )
  monkeypatch.setattr(assembly, 'open_camera', make_camera)
  assert record_demos.main([*arguments, '--episodes=1']) == 0
  config = robot_tasks.load(arguments[0])
  (path,) = files.paths(tmp_path / 'out')
  # As a run asks for it.
  files.read(path, arm_program.make_spec(config))
  # A classifier is to look at both.
  arguments += [f'--out={tmp_path / "both"}', '--successes=0', '--failures=5']
  assert record_transitions.main(arguments) == 0
  (path,) = files.paths(tmp_path / 'both')
  files.read(path, assembly.make_spec(config))


def test_images_of_the_real_arm_have_the_tasks_size(arm, capsys):
  arguments, _ = arm
  with pytest.raises(SystemExit):
    record_demos.main([*arguments, '--size=32'])
  assert 'image_size' in capsys.readouterr().err
