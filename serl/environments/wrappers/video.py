"""Films what an environment shows."""

import os

import dm_env
import numpy as np

from serl import core
from serl import specs
from serl.environments.wrappers import base

_FRAMES_PER_SECOND = 25  # at most: pictures are slow without a GPU


class VideoRecorder(base.EnvironmentWrapper):
  """Films every episode into one file, which `close` finishes.

  The environment must be a `core.HasRender`. Where it is a
  `core.HasControlTimestep`, too, the video runs in real time.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    path: str | os.PathLike,
    camera: str = 'picture',
    height: int = 480,
    width: int = 640,
  ):
    """Wraps `environment` and begins the file.

    Args:
      environment: to be filmed.
      path: of the video; its ending tells the format, '.mp4' as a rule.
      camera: the camera's name.
      height: of the picture, pixels.
      width: of the picture, pixels.

    Raises:
      ValueError: the environment has no pictures of itself.
    """
    super().__init__(environment)
    if not isinstance(environment, core.HasRender):
      raise ValueError(
        'The environment has no render(camera, height, width), so that it '
        'cannot be filmed; expected a simulated one. Leave out --video: a real '
        'arm is filmed by a camera beside it.'
      )
    # Slow to import, and of no use to who films nothing.
    import imageio.v2 as imageio

    self._picture = {'camera': camera, 'height': height, 'width': width}
    # Without a clock, every step is a frame.
    rate = specs.steps_per_second(environment) or _FRAMES_PER_SECOND
    self._every = max(1, round(rate / _FRAMES_PER_SECOND))
    self._steps = 0
    # Without, its size would be rounded up to multiples of 16.
    self._writer = imageio.get_writer(
      path, fps=round(rate / self._every), macro_block_size=2
    )

  def reset(self) -> dm_env.TimeStep:
    return self._film(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._film(self._environment.step(action))

  def close(self) -> None:
    """Finishes the file and closes the environment."""
    self._writer.close()
    super().close()

  def _film(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    if timestep.first():
      self._steps = 0
    if self._steps % self._every == 0:
      self._writer.append_data(self._environment.render(**self._picture))
    self._steps += 1
    return timestep
