"""Pictures of a simulation without a display.

MuJoCo chooses its OpenGL by MUJOCO_GL when it is first imported, and loads it
then. Here the choice is made at the first picture: whoever trains from state
needs no OpenGL, and the order of imports does not matter. MUJOCO_GL is
respected where it is set.
"""

import atexit
import copy
import importlib
import os
import sys
from typing import Any, NamedTuple
import weakref

from absl import logging
import mujoco
import numpy as np

from serl.environments.sim import meshes
from serl.environments.sim import opengl


def _make_context(height: int, width: int) -> Any:
  """Returns a current OpenGL context of the chosen backend."""
  backend = opengl.choose_backend()
  # Mesa's, read when it loads: small pictures gain nothing by more threads, and
  # the other cores are the learner's.
  os.environ.setdefault('LP_NUM_THREADS', '1')
  if backend in opengl.LIBRARIES and 'OpenGL' not in sys.modules:
    # PyOpenGL's own choice; another one than MuJoCo's draws nothing.
    os.environ['PYOPENGL_PLATFORM'] = backend
  logging.log_first_n(logging.INFO, 'Drawing with %s.', 1, backend)
  try:
    module = importlib.import_module(f'mujoco.{backend}')
    context = module.GLContext(width, height)
    context.make_current()
  # PyOpenGL fails in many ways where a library or a driver is missing.
  except (ImportError, AttributeError, RuntimeError, OSError) as error:
    raise opengl.RenderingUnavailableError(
      f'Drawing with {backend} failed: {error}. {opengl.HELP}'
    ) from error
  return context


class Look(NamedTuple):
  """How much is spent on a picture; the physics is no part of it."""

  simple_meshes: bool
  shadow_size: int  # pixels of the shadow's map; 0 draws no shadows


# For policies: in software, a thirtieth of the other's time.
FAST = Look(simple_meshes=True, shadow_size=0)
# For people. MuJoCo's own 4096 pixels take three times as long in software.
FULL = Look(simple_meshes=False, shadow_size=1024)

_open: weakref.WeakSet['Renderer'] = weakref.WeakSet()


def _close_all() -> None:
  for renderer in list(_open):
    renderer.close()


class Renderer:
  """Draws one model in one size and look.

  It holds OpenGL's memory until it is closed, deleted, or Python ends.
  """

  def __init__(
    self,
    model: mujoco.MjModel,
    height: int,
    width: int,
    look: Look = FULL,
  ):
    """Creates the renderer.

    Args:
      model: to draw; it is left as it is, whatever the look.
      height: of the pictures, pixels.
      width: of the pictures, pixels.
      look: how they shall look.

    Raises:
      RenderingUnavailableError: if this machine cannot draw.
    """
    self._context = self._gl_context = None
    self._model = model
    self._shape = (height, width, 3)
    self._rectangle = mujoco.MjrRect(0, 0, width, height)
    self._cameras = {model.camera(i).name: i for i in range(model.ncam)}
    self._scene = mujoco.MjvScene(model, maxgeom=1000)
    self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = look.shadow_size > 0
    self._options = mujoco.MjvOption()
    self._camera = mujoco.MjvCamera()
    self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    # OpenGL is given its own copy of the meshes here, and once.
    drawn = copy.copy(model)
    drawn.vis.global_.offheight = height
    drawn.vis.global_.offwidth = width
    drawn.vis.quality.shadowsize = look.shadow_size
    drawn.vis.quality.offsamples = 0
    if look.simple_meshes:
      meshes.simplify(drawn)
    self._gl_context = _make_context(height, width)
    self._context = mujoco.MjrContext(
      drawn, mujoco.mjtFontScale.mjFONTSCALE_100.value
    )
    mujoco.mjr_setBuffer(
      mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context
    )
    _open.add(self)
    # Last in, first out: OpenGL registered its own end when it was loaded.
    atexit.unregister(_close_all)
    atexit.register(_close_all)

  def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
    """Returns what `camera` sees, [height, width, 3] uint8.

    Raises:
      ValueError: if the model has no such camera.
    """
    if camera not in self._cameras:
      raise ValueError(
        f'No camera {camera!r}; the model has {list(self._cameras)}.'
      )
    self._camera.fixedcamid = self._cameras[camera]
    # Another renderer's context may have become current since.
    self._gl_context.make_current()
    # For every camera anew: it carries the headlight.
    mujoco.mjv_updateScene(
      self._model,
      data,
      self._options,
      None,
      self._camera,
      mujoco.mjtCatBit.mjCAT_ALL.value,
      self._scene,
    )
    mujoco.mjr_render(self._rectangle, self._scene, self._context)
    pixels = np.empty(self._shape, np.uint8)
    mujoco.mjr_readPixels(pixels, None, self._rectangle, self._context)
    # OpenGL's first row is the lowest.
    return np.ascontiguousarray(np.flipud(pixels))

  def close(self) -> None:
    """Frees OpenGL's memory; closing twice does nothing."""
    if self._context is not None:
      self._gl_context.make_current()
      self._context.free()
    if self._gl_context is not None:
      self._gl_context.free()
    self._context = self._gl_context = None

  def __del__(self):
    self.close()


class Renderers:
  """A renderer of one model for each size and look, made when it is needed."""

  def __init__(self, model: mujoco.MjModel):
    """Makes none yet."""
    self._model = model
    self._renderers: dict[tuple[int, int, Look], Renderer] = {}

  def render(
    self,
    data: mujoco.MjData,
    camera: str,
    height: int,
    width: int,
    look: Look = FULL,
  ) -> np.ndarray:
    """Returns what `camera` sees, [height, width, 3] uint8.

    Raises:
      RenderingUnavailableError: if this machine cannot draw.
      ValueError: if the model has no such camera.
    """
    kind = (height, width, look)
    if kind not in self._renderers:
      self._renderers[kind] = Renderer(self._model, *kind)
    return self._renderers[kind].render(data, camera)

  def close(self) -> None:
    """Frees OpenGL's memory; the next picture takes it anew."""
    while self._renderers:
      self._renderers.popitem()[1].close()
