"""What the environment asks of a camera."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from serl import core


class CameraError(core.FaultError):
  """A camera gives no pictures, or none that one could act on."""


class Frame(NamedTuple):
  """A picture, cut and scaled to what is observed."""

  image: np.ndarray  # [H, W, 3] uint8, RGB
  # When it arrived, s, on the environment's clock. Of pictures that a sensor
  # with noise gives again and again, the first one's: it shows that moment.
  time: float


class Exposure(NamedTuple):
  """How long a sensor is exposed."""

  value: float  # in the camera's own unit
  automatic: bool  # whether the camera chooses it


@runtime_checkable
class HasExposure(Protocol, metaclass=core.Capability):
  """Knows how long its sensor is exposed; a camera or its source may be one."""

  def exposure(self) -> Exposure | None:
    """Returns the sensor's exposure, None where it does not tell."""


class Camera(Protocol):
  """A camera that runs by itself."""

  def read(self) -> Frame:
    """Returns the newest picture; never waits.

    Raises:
      CameraError: there is none, or the camera is frozen, black or gone.
    """

  def close(self) -> None:
    """Lets go of the camera."""
