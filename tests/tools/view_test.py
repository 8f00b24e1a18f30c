"""The viewer's tool draws where there is no display."""

import contextlib
import dataclasses
import subprocess
import sys

import imageio.v2 as imageio
import numpy as np
import pytest

from serl.environments.sim import opengl
from serl.environments.sim import pick_cube
from serl.environments.wrappers import pacing
from serl.tools import view


@pytest.fixture(name='headless')
def no_display(monkeypatch, tmp_path):
  monkeypatch.delenv('DISPLAY', raising=False)
  monkeypatch.setattr(sys, 'platform', 'linux')
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.fixture(name='picture')
def short_episodes(monkeypatch):
  """Makes episodes of two steps, and skips where nothing can be drawn."""
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(f'no OpenGL: {error}')
  config = pick_cube.Config(episode_steps=2)
  monkeypatch.setitem(
    view.tasks.TASKS, 'pick_cube', lambda seed: pick_cube.make(seed, config)
  )


def test_writes_a_video_without_a_display(headless, picture, capsys):
  view.view('pick_cube', 'random', seed=0, episodes=2, output=None)
  path = headless / 'pick_cube.mp4'
  with imageio.get_reader(path) as video:
    frames = [np.asarray(frame) for frame in video]
    assert video.get_meta_data()['fps'] == 50
  assert len(frames) == 6  # two episodes of a reset and two steps
  assert frames[0].shape == (480, 640, 3)
  assert frames[0].std() > 10
  assert str(path) in capsys.readouterr().out


def test_writes_the_last_picture(headless, picture):
  view.view('pick_cube', 'expert', 0, 1, output='cube.png')
  assert imageio.imread(headless / 'cube.png').shape == (480, 640, 3)


def test_draws_what_is_observed(headless, picture, monkeypatch):
  config = dataclasses.replace(pick_cube.VISION, episode_steps=2, image_size=16)
  monkeypatch.setitem(
    view.tasks.TASKS,
    'pick_cube_vision',
    lambda seed: pick_cube.make_vision(seed, config),
  )
  task = 'pick_cube_vision'
  view.view(task, 'expert', 0, 2, output='strip.png', images=True)
  strip = imageio.imread(headless / 'strip.png')
  # Two cameras; one episode's reset and two steps.
  assert strip.shape == (32, 48, 3)
  first = pick_cube.make_vision(0, config)
  first.reset()
  while not first.step(np.zeros(4)).last():
    pass
  observation = first.reset().observation
  first.close()
  np.testing.assert_array_equal(strip[:16, :16], observation['front'])
  np.testing.assert_array_equal(strip[16:, :16], observation['wrist'])
  view.view(task, 'zero', 0, 1, output='strip.mp4', images=True)
  with imageio.get_reader(headless / 'strip.mp4') as video:
    assert video.count_frames() == 3


def test_images_that_nobody_observes_are_refused(headless, picture):
  with pytest.raises(ValueError, match='--images: this task observes none'):
    view.view('pick_cube', 'zero', 0, 1, output='strip.png', images=True)


def test_refuses_another_kind_of_file(headless):
  with pytest.raises(ValueError, match=r'cube\.gif; expected'):
    view.view('pick_cube', 'zero', 0, 1, output='cube.gif')


def test_plays_in_the_viewer_where_there_is_a_display(monkeypatch, capsys):
  monkeypatch.setenv('DISPLAY', ':7')
  config = pick_cube.Config(episode_steps=5)
  monkeypatch.setitem(
    view.tasks.TASKS, 'pick_cube', lambda seed: pick_cube.make(seed, config)
  )
  periods, syncs = [], []

  def paced(environment, period_s):
    periods.append(period_s)
    return environment

  class Viewer:
    def is_running(self):
      return len(syncs) < 4

    def sync(self):
      syncs.append(1)

  @contextlib.contextmanager
  def launch(model, data):
    yield Viewer()

  monkeypatch.setattr(pacing, 'RealTime', paced)
  monkeypatch.setattr(view.mujoco.viewer, 'launch_passive', launch)
  view.view('pick_cube', 'zero', 0, episodes=3, output=None)
  assert periods == [0.02]
  assert len(syncs) == 4  # the window was closed during the first episode


def test_policies_act_within_the_spec():
  environment = pick_cube.make(seed=0)
  make = view.make_actor
  zero = make('zero', 'pick_cube', 0, environment)
  np.testing.assert_array_equal(zero.select_action(None), np.zeros(4))
  first, second = (
    make('random', 'pick_cube', 3, environment).select_action(None)
    for _ in range(2)
  )
  np.testing.assert_array_equal(first, second)
  assert first.shape == (4,) and (np.abs(first) <= 1).all()
  with pytest.raises(ValueError, match="'other' has no expert"):
    make('expert', 'other', 0, environment)


def test_an_expert_begins_anew_with_every_episode(capsys):
  # The second cube starts near to where the first one was let go of.
  environment = pick_cube.make(seed=20)
  expert = view.make_actor('expert', 'pick_cube', 20, environment)
  list(view.run_episodes(environment, expert, episodes=2))
  printed = capsys.readouterr().out
  assert printed.count('success 1') == 2


def run(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'serl.tools.view', *arguments],
    capture_output=True,
    text=True,
  )


def test_an_unknown_task_lists_the_known():
  done = run('nonsense')
  assert done.returncode == 1
  assert "Unknown task 'nonsense'; expected one of " in done.stderr
  assert 'Traceback' not in done.stderr


def test_help_and_a_missing_task():
  assert '--policy' in run('--help').stdout
  done = run()
  assert done.returncode != 0
  assert 'Name one task: ' in done.stdout + done.stderr
