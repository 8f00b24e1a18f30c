"""RealSense cameras."""

import numpy as np
import pyrealsense2 as rs

from serl.environments.franka import cameras
from serl.environments.franka import config as config_lib


class RealSense:
  """A `capture.Source`: the colour camera of a RealSense."""

  def __init__(
    self, config: config_lib.CameraConfig, context: rs.context | None = None
  ):
    """Starts the camera.

    Args:
      config: of the camera; its serial says which.
      context: of librealsense; by default that of the devices at its USB.

    Raises:
      CameraError: there is no such camera or it does not start.
    """
    self._timeout = round(1000 * config.patience)  # ms
    context = rs.context() if context is None else context
    # librealsense would wait a quarter of a minute for it.
    if config.serial not in serials(context):
      raise cameras.CameraError(
        f'There is no RealSense {config.serial}; there are {serials(context)}. '
        'Is it plugged in?'
      )
    self._pipeline = rs.pipeline(context)
    stream = rs.config()
    stream.enable_device(config.serial)
    stream.enable_stream(
      rs.stream.color, config.width, config.height, rs.format.rgb8, config.rate
    )
    try:
      device = self._pipeline.start(stream).get_device()
      self._sensor = _find_colour_sensor(device)
      if config.exposure is not None:
        if self._sensor is None:
          raise RuntimeError('it has no exposure to be set')
        self._sensor.set_option(rs.option.enable_auto_exposure, 0)
        self._sensor.set_option(rs.option.exposure, config.exposure)
    except RuntimeError as error:
      raise cameras.CameraError(
        f'Cannot start the RealSense {config.serial} ({error}). Is it at USB '
        '3, used by nobody else, and does it know this resolution and rate?'
      ) from error

  def grab(self) -> np.ndarray:
    """Returns the next picture, [H, W, 3] uint8, RGB.

    Raises:
      CameraError: there is none in time.
    """
    try:
      frames = self._pipeline.wait_for_frames(self._timeout)
    except RuntimeError as error:
      raise cameras.CameraError(str(error)) from error
    # A copy: the next picture comes into the same memory.
    return np.array(frames.get_color_frame().get_data())

  def exposure(self) -> cameras.Exposure | None:
    """Returns the sensor's exposure, None if it does not tell."""
    if self._sensor is None:
      return None
    try:
      return cameras.Exposure(
        self._sensor.get_option(rs.option.exposure),
        bool(self._sensor.get_option(rs.option.enable_auto_exposure)),
      )
    except RuntimeError:  # as of one that was unplugged
      return None

  def close(self) -> None:
    """Stops the camera."""
    self._pipeline.stop()


def serials(context: rs.context | None = None) -> list[str]:
  """Returns the serial numbers of the cameras that are plugged in."""
  context = rs.context() if context is None else context
  return [
    device.get_info(rs.camera_info.serial_number)
    for device in context.query_devices()
  ]


def _find_colour_sensor(device: rs.device) -> rs.sensor | None:
  """Returns what the colour comes from and may be exposed otherwise.

  That is a sensor of its own, or of a D405 the one that gives the depth too.
  """
  options = (rs.option.exposure, rs.option.enable_auto_exposure)
  for sensor in device.query_sensors():
    streams = {
      profile.stream_type() for profile in sensor.get_stream_profiles()
    }
    if rs.stream.color in streams and all(map(sensor.supports, options)):
      return sensor
  return None
