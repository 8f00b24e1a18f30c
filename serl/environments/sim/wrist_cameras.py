"""The two cameras on the twin's gripper, as the real tasks have them.

They stand on both sides of the gripper and look at what it holds. Each sees
what a RealSense D405 with 640x480 pixels sees, cropped to its middle 480
columns or in full.
"""

import mujoco

from serl.environments.franka import cameras
from serl.environments.sim import arm as arm_lib
from serl.environments.sim import rendering
from serl.environments.sim import twin as twin_lib

_FIELD_OF_VIEW = 58.0  # degrees, of the rows
# By name: the position on the gripper's base, m, and the right and up of the
# picture.
_MOUNTS = {
  'wrist_1': ((-0.09, 0.0, 0.04), (0.0, 1.0, 0.0, 0.8, 0.0, -0.6)),
  'wrist_2': ((0.09, 0.0, 0.04), (0.0, -1.0, 0.0, -0.8, 0.0, -0.6)),
}
NAMES = tuple(_MOUNTS)


def add(spec: mujoco.MjSpec) -> None:
  """Mounts the cameras on the arm of `spec`, in place."""
  for name, (position, axes) in _MOUNTS.items():
    spec.body(arm_lib.GRIPPER_BASE).add_camera(
      name=name, pos=position, xyaxes=axes, fovy=_FIELD_OF_VIEW
    )


class WristCamera:
  """One camera of a twin, read directly: a picture is drawn when asked for.

  It need not be on the wrist: any camera of the twin's model will do.

  OpenGL wants all of a camera's pictures to be drawn by one thread.
  """

  def __init__(
    self,
    twin: twin_lib.Twin,
    name: str,
    height: int = 128,
    width: int = 128,
  ):
    """Creates the camera.

    Args:
      twin: whose model has such a camera.
      name: of the camera.
      height: of the pictures, pixels.
      width: of the pictures, pixels. As many as the height give the crop to
        the middle.

    Raises:
      ValueError: if there is no such camera.
    """
    names = [twin.model.camera(i).name for i in range(twin.model.ncam)]
    if name not in names:
      raise ValueError(f'Unknown camera {name!r}; expected one of {names}.')
    self._twin = twin
    self._name = name
    self._size = (height, width)
    # The physics goes on while a picture is drawn.
    self._data = mujoco.MjData(twin.model)
    self._renderer: rendering.Renderer | None = None

  def read(self) -> cameras.Frame:
    """Returns a picture of the present, [height, width, 3].

    Raises:
      RenderingUnavailableError: if this machine cannot draw.
    """
    twin = self._twin
    if self._renderer is None:
      self._renderer = rendering.Renderer(
        twin.model, *self._size, rendering.FAST
      )
    with twin.lock:
      mujoco.mj_copyData(self._data, twin.model, twin.data)
      time = twin.physics_time
    return cameras.Frame(self._renderer.render(self._data, self._name), time)

  def close(self) -> None:
    """Frees OpenGL's memory; the next picture takes it anew."""
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None
