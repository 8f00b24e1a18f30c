"""Pictures of a simulation without a display.

MuJoCo chooses its OpenGL by MUJOCO_GL when it is first imported, and loads it
then. Here the choice is made at the first picture: whoever trains from state
needs no OpenGL, and the order of imports does not matter. MUJOCO_GL is
respected where it is set.
"""

import atexit
import copy
import ctypes
import importlib
import os
import sys
from typing import Any, NamedTuple
import warnings
import weakref

from absl import logging
import mujoco
import numpy as np

from serl.environments.sim import meshes

# By backend: the libraries that must load. EGL goes first: it is the faster.
_LIBRARIES = {
  'egl': ('libEGL.so.1', 'libGL.so.1'),
  'osmesa': ('libOSMesa.so.8',),
}
_NOT_DRAWN = ('disable', 'disabled', 'off', 'false', '0')  # to MuJoCo
_EGL_DEVICES = 32  # that are looked at
_EGL_PLATFORM_DEVICE = 0x313F  # EGL_PLATFORM_DEVICE_EXT
_HELP = (
  'Install `apt-get install libegl1 libgl1 libgl1-mesa-dri` for EGL, or '
  '`apt-get install libosmesa6` for OSMesa. Training from state needs neither.'
)


class RenderingUnavailableError(OSError):
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
    check_variables()
    missing = [n for n in _LIBRARIES.get(asked, ()) if not _loads(n)]
    if missing:
      raise RenderingUnavailableError(
        f'MUJOCO_GL={asked}: {", ".join(missing)} cannot be loaded. {_HELP}'
      )
    return asked
  if sys.platform != 'linux':
    return 'glfw'
  missing = {}
  for backend, libraries in _LIBRARIES.items():
    missing[backend] = [name for name in libraries if not _loads(name)]
    if backend == 'egl' and not missing[backend] and not _egl_works():
      missing[backend] = ["a driver (libgl1-mesa-dri or the GPU maker's)"]
    if not missing[backend]:
      return backend
  raise RenderingUnavailableError(
    f'No OpenGL to draw with; missing, by kind: {missing}. {_HELP}'
  )


def check_variables() -> None:
  """Checks the variables that say how to draw, without drawing anything.

  Raises:
    RenderingUnavailableError: MUJOCO_GL names a display that is not there.
    ValueError: MUJOCO_EGL_DEVICE_ID is no number.
  """
  device = os.environ.get('MUJOCO_EGL_DEVICE_ID', '0')
  if not device.isdecimal():
    raise ValueError(
      f'MUJOCO_EGL_DEVICE_ID={device!r}; expected the number of a device of '
      'EGL, from 0, or unset.'
    )
  asked = os.environ.get('MUJOCO_GL', '').lower().strip()
  if asked in _NOT_DRAWN:
    raise ValueError(
      f'MUJOCO_GL={asked!r}; expected egl, osmesa or glfw, or unset, where '
      'images are observed.'
    )
  if asked == 'glfw' and sys.platform == 'linux' and not _glfw_works():
    display = os.environ.get('DISPLAY')
    raise RenderingUnavailableError(
      f'MUJOCO_GL=glfw draws by a display, and DISPLAY is {display!r}, where '
      'none answers. Unset MUJOCO_GL, or set it to egl or osmesa.'
    )


def _glfw_works() -> bool:
  """Returns whether GLFW finds a display that answers."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      import glfw
    except ImportError:
      return False
    return bool(glfw.init())


def _loads(library: str) -> bool:
  try:
    ctypes.CDLL(library)
  except OSError:
    return False
  return True


def _egl_works() -> bool:
  """Returns whether EGL has a driver that opens something to draw on.

  Asked of the library itself: PyOpenGL, once it has tried EGL, stays with it.
  """
  egl = ctypes.CDLL('libEGL.so.1')
  egl.eglGetProcAddress.restype = ctypes.c_void_p
  query = egl.eglGetProcAddress(b'eglQueryDevicesEXT')
  get_display = egl.eglGetProcAddress(b'eglGetPlatformDisplayEXT')
  if not query or not get_display:
    return False
  pointer = ctypes.c_void_p
  query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, pointer, pointer)(query)
  get_display = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(
    get_display
  )
  egl.eglInitialize.argtypes = (pointer, pointer, pointer)
  count, devices = ctypes.c_int(), (pointer * _EGL_DEVICES)()
  if not query(_EGL_DEVICES, devices, ctypes.byref(count)):
    return False
  for device in devices[: count.value]:
    # Not terminated: it is the one that renderers share.
    display = get_display(_EGL_PLATFORM_DEVICE, device, None)
    if display and egl.eglInitialize(display, None, None):
      return True
  return False


def _make_context(height: int, width: int) -> Any:
  """Returns a current OpenGL context of the chosen backend."""
  backend = choose_backend()
  # Mesa's, read when it loads: small pictures gain nothing by more threads, and
  # the other cores are the learner's.
  os.environ.setdefault('LP_NUM_THREADS', '1')
  if backend in _LIBRARIES and 'OpenGL' not in sys.modules:
    # PyOpenGL's own choice; another one than MuJoCo's draws nothing.
    os.environ['PYOPENGL_PLATFORM'] = backend
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
