"""Pictures of a simulation without a display.

MuJoCo chooses its OpenGL by MUJOCO_GL when it is first imported, and loads it
then. Here the choice is made at the first picture: whoever trains from state
needs no OpenGL, and the order of imports does not matter. MUJOCO_GL is
respected where it is set.
"""

import ctypes
import importlib
import os
import sys
from typing import Any

from absl import logging
import mujoco
import numpy as np

# By backend: the libraries that must load. EGL goes first: it is the faster.
_LIBRARIES = {
  'egl': ('libEGL.so.1', 'libGL.so.1'),
  'osmesa': ('libOSMesa.so.8',),
}
_HELP = (
  'Install `apt-get install libegl1 libgl1 libgl1-mesa-dri` for EGL, or '
  '`apt-get install libosmesa6` for OSMesa. Training from state needs neither.'
)


class RenderingUnavailableError(RuntimeError):
  """This machine cannot draw; the message says what to install."""


def choose_backend() -> str:
  """Returns the OpenGL to draw with: 'egl', 'osmesa' or 'glfw'.

  Raises:
    RenderingUnavailableError: if no library is found.
    ValueError: if MUJOCO_GL names none of the three.
  """
  asked = os.environ.get('MUJOCO_GL', '').lower().strip()
  if asked:
    if asked not in (*_LIBRARIES, 'glfw'):
      raise ValueError(
        f'MUJOCO_GL={asked!r}; expected egl, osmesa or glfw, or unset.'
      )
    return asked
  if sys.platform != 'linux':
    return 'glfw'
  missing = {}
  for backend, libraries in _LIBRARIES.items():
    missing[backend] = [name for name in libraries if not _loads(name)]
    if not missing[backend]:
      return backend
  raise RenderingUnavailableError(
    f'No OpenGL to draw with: {missing} cannot be loaded. {_HELP}'
  )


def _loads(library: str) -> bool:
  try:
    ctypes.CDLL(library)
  except OSError:
    return False
  return True


def _make_context(height: int, width: int) -> Any:
  """Returns a current OpenGL context of the chosen backend."""
  backend = choose_backend()
  logging.log_first_n(logging.INFO, 'Drawing with %s.', 1, backend)
  try:
    module = importlib.import_module(f'mujoco.{backend}')
    context = module.GLContext(width, height)
    context.make_current()
  # PyOpenGL fails in many ways where a library or a driver is missing.
  except (ImportError, AttributeError, RuntimeError, OSError) as error:
    raise RenderingUnavailableError(
      f'Drawing with {backend} failed: {error}. {_HELP}'
    ) from error
  return context


class Renderer:
  """Draws one model in one size. Close it: it holds OpenGL's memory."""

  def __init__(self, model: mujoco.MjModel, height: int, width: int):
    """Creates the renderer.

    Args:
      model: to draw; its off-screen buffer is enlarged to the size if needed.
      height: of the pictures, pixels.
      width: of the pictures, pixels.

    Raises:
      RenderingUnavailableError: if this machine cannot draw.
    """
    self._model = model
    self._shape = (height, width, 3)
    self._rectangle = mujoco.MjrRect(0, 0, width, height)
    buffer = model.vis.global_
    buffer.offheight = max(buffer.offheight, height)
    buffer.offwidth = max(buffer.offwidth, width)
    self._scene = mujoco.MjvScene(model, maxgeom=1000)
    self._options = mujoco.MjvOption()
    self._camera = mujoco.MjvCamera()
    self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    self._gl_context = _make_context(height, width)
    self._context = mujoco.MjrContext(
      model, mujoco.mjtFontScale.mjFONTSCALE_100.value
    )
    mujoco.mjr_setBuffer(
      mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context
    )

  def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
    """Returns what `camera` sees, [height, width, 3] uint8.

    Raises:
      ValueError: if the model has no such camera.
    """
    cameras = [self._model.camera(i).name for i in range(self._model.ncam)]
    if camera not in cameras:
      raise ValueError(f'No camera {camera!r}; the model has {cameras}.')
    self._camera.fixedcamid = cameras.index(camera)
    # Another renderer's context may have become current since.
    self._gl_context.make_current()
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
    if self._context is None:
      return
    self._gl_context.make_current()
    self._context.free()
    self._gl_context.free()
    self._context = self._gl_context = None
