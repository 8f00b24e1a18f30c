"""Pictures show the scene, and their memory is given back."""

import weakref

import mujoco
import numpy as np
import pytest

from serl.environments.sim import pick_cube
from serl.environments.sim import rendering


@pytest.fixture(name='environment')
def make_environment():
  environment = pick_cube.make(seed=0)
  environment.reset()
  try:
    environment.render(height=16, width=16)
  except rendering.RenderingUnavailableError as error:
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
  with pytest.raises(ValueError, match=r"'back'; the model has \['front'\]"):
    environment.render(camera='back')


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


@pytest.mark.parametrize(
  ('present', 'backend'),
  [
    (('libEGL.so.1', 'libGL.so.1', 'libOSMesa.so.8'), 'egl'),
    (('libEGL.so.1', 'libOSMesa.so.8'), 'osmesa'),
  ],
)
def test_chooses_what_loads(monkeypatch, present, backend):
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  monkeypatch.setattr(rendering.sys, 'platform', 'linux')
  monkeypatch.setattr(rendering, '_loads', lambda name: name in present)
  assert rendering.choose_backend() == backend


def test_without_opengl_names_the_packages(monkeypatch):
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  monkeypatch.setattr(rendering.sys, 'platform', 'linux')
  monkeypatch.setattr(rendering, '_loads', lambda name: False)
  environment = pick_cube.make(seed=0)
  environment.reset()
  with pytest.raises(
    rendering.RenderingUnavailableError, match=r'libegl1 .* libosmesa6'
  ):
    environment.render()


def test_respects_the_variable(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'osmesa')
  assert rendering.choose_backend() == 'osmesa'
  monkeypatch.setenv('MUJOCO_GL', 'vulkan')
  with pytest.raises(ValueError, match="MUJOCO_GL='vulkan'"):
    rendering.choose_backend()
