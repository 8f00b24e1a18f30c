"""Pictures show the scene, and their memory is given back."""

from concurrent import futures
import dataclasses
import multiprocessing
import os
import resource
import subprocess
import sys
import weakref

import mujoco
import numpy as np
import pytest

from serl.environments.sim import opengl
from serl.environments.sim import pick_cube
from serl.environments.sim import rendering


@pytest.fixture(name='environment')
def make_environment():
  environment = pick_cube.make(seed=0)
  environment.reset()
  try:
    environment.render(height=16, width=16)
  except opengl.RenderingUnavailableError as error:
    pytest.skip(f'no OpenGL: {error}')
  yield environment
  environment.close()


def red(picture):
  """The pixels of the cube, as (rows, columns)."""
  return np.nonzero(
    (picture[..., 0] > 100) & (picture[..., 1] < 80) & (picture[..., 2] < 80)
  )


def test_shows_the_cube_where_it_is(environment):
  joint = environment.data.joint('block')
  columns = []
  for y in (-0.25, 0.25):
    environment.reset()
    joint.qpos[:2] = (0.55, y)
    mujoco.mj_forward(environment.model, environment.data)
    picture = environment.render(height=240, width=320)
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    rows, cols = red(picture)
    assert len(rows) > 50
    assert rows.max() < 239  # all of the cube is in view
    assert rows.mean() > 120  # on the table: the picture is not upside down
    columns.append(cols.mean())
  assert columns[1] > columns[0] + 100


def test_sizes_take_turns(environment):
  small = environment.render(height=48, width=64)
  environment.render(height=1000, width=900)
  np.testing.assert_array_equal(environment.render(height=48, width=64), small)


def test_an_unknown_camera_lists_the_known(environment):
  with pytest.raises(ValueError, match=r"'back'; the model has \['picture',"):
    environment.render(camera='back')


def test_the_fast_look_resembles_the_full_and_touches_no_model(environment):
  model = environment.model
  before = model.mesh_vert.copy(), model.mesh_face.copy()
  pictures = {}
  for look in (rendering.FAST, rendering.FULL):
    renderer = rendering.Renderer(model, 96, 128, look)
    pictures[look] = renderer.render(environment.data, 'picture').astype(int)
    renderer.close()
  np.testing.assert_array_equal(model.mesh_vert, before[0])
  np.testing.assert_array_equal(model.mesh_face, before[1])
  difference = np.abs(pictures[rendering.FAST] - pictures[rendering.FULL])
  changed = difference.max(axis=-1) > 40
  # Edges, and where the shadow fell; not the arm itself.
  assert 0.005 < changed.mean() < 0.1


def test_each_camera_is_drawn_the_same_in_any_order(environment):
  # The headlight moves with the camera.
  front = environment.render('front', 32, 32)
  wrist = environment.render('wrist', 32, 32)
  np.testing.assert_array_equal(environment.render('front', 32, 32), front)
  np.testing.assert_array_equal(environment.render('wrist', 32, 32), wrist)


def _rise(repeat, before, after):
  """Returns by how many MiB the peak of this process's memory rises."""

  def peak(times):
    for i in range(times):
      repeat(i)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

  first = peak(before)
  return peak(after) - first


def _rise_of_renderers():
  environment = pick_cube.make(seed=0)
  environment.reset()
  environment.render(height=16, width=16)

  def draw(_):
    renderer = rendering.Renderer(environment.model, 32, 32, rendering.FAST)
    renderer.render(environment.data, 'wrist')
    renderer.close()

  rise = _rise(draw, 3, 9)
  assert len(rendering._open) == 1  # the environment's
  return rise


def _rise_of_environments():
  config = dataclasses.replace(pick_cube.VISION, image_size=32)

  def see(seed):
    environment = pick_cube.make_vision(seed, config)
    environment.reset()
    environment.close()

  return _rise(see, 5, 15)


# One context's meshes alone are some megabytes; an environment takes 0.3 MB.
@pytest.mark.parametrize('rise', [_rise_of_renderers, _rise_of_environments])
@pytest.mark.usefixtures('environment')
def test_many_in_a_row_leak_nothing(rise):
  # In a process of its own: the peak is of all that one has ever held.
  fresh = multiprocessing.get_context('spawn')
  with futures.ProcessPoolExecutor(1, fresh) as pool:
    assert pool.submit(rise).result() < 9


def test_what_is_dropped_is_freed(environment):
  renderer = rendering.Renderer(environment.model, 16, 16, rendering.FAST)
  context = weakref.ref(renderer._gl_context)
  del renderer
  assert context() is None


def test_what_is_left_open_ends_without_a_word(environment):
  code = (
    'from serl.environments.sim import pick_cube\n'
    'environment = pick_cube.make_vision()\n'
    'environment.reset()\n'
    'environment.render()\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''


def test_one_renderer_a_size_and_none_after_close(environment, monkeypatch):
  made = []

  class Counted(rendering.Renderer):
    def __init__(self, *args):
      super().__init__(*args)
      made.append(weakref.ref(self))

  environment.close()
  monkeypatch.setattr(rendering, 'Renderer', Counted)
  for _ in range(3):
    environment.render(height=32, width=32)
    environment.render(height=16, width=32)
  assert len(made) == 2
  environment.close()
  assert [reference() for reference in made] == [None, None]
  environment.close()
  environment.render(height=32, width=32)
  assert len(made) == 3


def test_without_opengl_names_the_packages(monkeypatch):
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  monkeypatch.setattr(opengl.sys, 'platform', 'linux')
  monkeypatch.setattr(opengl, 'loads', lambda name: False)
  environment = pick_cube.make(seed=0)
  environment.reset()
  with pytest.raises(
    opengl.RenderingUnavailableError, match=r'libegl1 .* libosmesa6'
  ):
    environment.render()
  # A learner asks for no more than the specs.
  environment = pick_cube.make_vision(seed=0)
  assert environment.observation_spec()['front'].shape == (128, 128, 3)
  # As an OSError it ends a program with its message alone.
  with pytest.raises(OSError, match=r'libegl1 .* libosmesa6'):
    environment.reset()


@pytest.mark.parametrize('display', [{}, {'DISPLAY': ':99'}])
def test_a_window_without_a_display_is_refused_at_the_start(display):
  code = (
    'from serl.environments.sim import tasks\n'
    'tasks.make("pick_cube", 0)\n'  # draws nothing
    'tasks.make("pick_cube_vision", 0, image_size=32)'
  )
  variables = {k: v for k, v in os.environ.items() if k != 'DISPLAY'}
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**variables, 'MUJOCO_GL': 'glfw', **display},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  last = done.stderr.splitlines()[-1]
  assert 'MUJOCO_GL=glfw draws by a display, and DISPLAY is' in last


@pytest.mark.parametrize(
  'name, value, told',
  [
    ('MUJOCO_GL', 'off', "MUJOCO_GL='off'; expected egl"),
    ('MUJOCO_EGL_DEVICE_ID', 'x', "MUJOCO_EGL_DEVICE_ID='x'; expected"),
    ('MUJOCO_EGL_DEVICE_ID', '-1', "MUJOCO_EGL_DEVICE_ID='-1'; expected"),
  ],
)
def test_images_refuse_what_draws_nothing(monkeypatch, name, value, told):
  monkeypatch.setenv(name, value)
  pick_cube.make(seed=0).close()
  with pytest.raises(ValueError, match=told):
    pick_cube.make_vision(seed=0)


def test_pyopengl_draws_as_mujoco_does(environment):
  code = (
    'from serl.environments.sim import pick_cube\n'
    'made = pick_cube.make(seed=0)\n'
    'made.reset()\n'
    'print(made.render(height=16, width=16).shape)'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'PYOPENGL_PLATFORM': 'glx'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.stdout.strip() == '(16, 16, 3)', done.stderr
