"""Which OpenGL simulations are drawn with, where there may be no display."""

import ctypes
import os
import sys
import warnings

# By backend: the libraries that must load. EGL goes first: it is the faster.
LIBRARIES = {
  'egl': ('libEGL.so.1', 'libGL.so.1'),
  'osmesa': ('libOSMesa.so.8',),
}
_NOT_DRAWN = ('disable', 'disabled', 'off', 'false', '0')  # to MuJoCo
_EGL_DEVICES = 32  # that are looked at
_EGL_PLATFORM_DEVICE = 0x313F  # EGL_PLATFORM_DEVICE_EXT
HELP = (
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
    if asked not in (*LIBRARIES, 'glfw'):
      raise ValueError(
        f'MUJOCO_GL={asked!r}; expected egl, osmesa or glfw, or unset.'
      )
    check_variables()
    missing = [n for n in LIBRARIES.get(asked, ()) if not loads(n)]
    if missing:
      raise RenderingUnavailableError(
        f'MUJOCO_GL={asked}: {", ".join(missing)} cannot be loaded. {HELP}'
      )
    return asked
  if sys.platform != 'linux':
    return 'glfw'
  missing = {}
  for backend, libraries in LIBRARIES.items():
    missing[backend] = [name for name in libraries if not loads(name)]
    if backend == 'egl' and not missing[backend] and not _egl_works():
      missing[backend] = ["a driver (libgl1-mesa-dri or the GPU maker's)"]
    if not missing[backend]:
      return backend
  raise RenderingUnavailableError(
    f'No OpenGL to draw with; missing, by kind: {missing}. {HELP}'
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


def loads(library: str) -> bool:
  """Returns whether a shared library is there."""
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


def prefer_headless() -> None:
  """Has MuJoCo draw without a display where there is none.

  MuJoCo chooses its OpenGL by MUJOCO_GL when it is first imported, and takes a
  display for granted where that is unset. Environments that draw by
  `mujoco.Renderer` need it set before; `rendering` does not. The variable stays
  as it is where it is set, where MuJoCo has been imported, and where nothing
  can draw.
  """
  has_display = sys.platform != 'linux' or os.environ.get('DISPLAY')
  if has_display or os.environ.get('MUJOCO_GL') or 'mujoco' in sys.modules:
    return
  try:
    os.environ['MUJOCO_GL'] = choose_backend()
  except RenderingUnavailableError:
    return
