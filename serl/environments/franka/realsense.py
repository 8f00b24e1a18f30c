"""RealSense cameras."""

import contextlib
import time

from absl import logging
import numpy as np
import pyrealsense2 as rs

from serl.environments.franka import cameras
from serl.environments.franka import config as config_lib
from serl.environments.franka import holders

_FIRST_FRAME_S = 5.0  # that a camera may take to give its first picture
# After a reset: until it has gone, and until it is back at the latest, s.
_LEAVING_S = 2.0
_RETURNING_S = 15.0
_POLL_S = 0.1
# In what librealsense says of a camera that something else streams from.
_BUSY = ('busy', 'is streaming', 'in use')


class _ConfigError(cameras.CameraError):
  """A camera that works and has not what its config asks for."""


class RealSense:
  """A `capture.Source`: the colour camera of a RealSense.

  Whatever librealsense raises is raised as a CameraError.
  """

  def __init__(
    self, config: config_lib.CameraConfig, context: rs.context | None = None
  ):
    """Starts the camera; returns with its first picture.

    A camera that gives none, as one whose last process was killed while it
    streamed, is reset and started again.

    Args:
      config: of the camera; its serial says which.
      context: of librealsense; by default that of the devices at its USB.

    Raises:
      CameraError: there is no such camera, it does not start, or another
        process uses it.
    """
    self._config = config
    self._timeout = round(1000 * config.patience)  # ms
    context = _context(context)
    device = _find(context, config.serial)
    try:
      with _translated('it does not start'):
        self._start(context)
    except cameras.CameraError as error:
      self._demand_unused(device, error)
      if isinstance(error, _ConfigError):
        raise
      with _translated(
        f'The RealSense {config.serial} cannot be used: {error}, nor after a '
        'reset: unplug it and plug it in again, at USB 3'
      ):
        self._reset(context, device, error)

  def grab(self) -> np.ndarray:
    """Returns the next picture, [H, W, 3] uint8, RGB.

    Raises:
      CameraError: there is none in time.
    """
    with _translated('it gives no picture'):
      frame = self._pipeline.wait_for_frames(self._timeout).get_color_frame()
      if not frame:
        raise cameras.CameraError('it gave frames without a colour picture')
      # A copy: the next picture comes into the same memory.
      return np.array(frame.get_data())

  def exposure(self) -> cameras.Exposure | None:
    """Returns the sensor's exposure, None if it does not tell."""
    if self._sensor is None:
      return None
    try:
      with _translated('it tells no exposure'):
        return cameras.Exposure(
          self._sensor.get_option(rs.option.exposure),
          bool(self._sensor.get_option(rs.option.enable_auto_exposure)),
        )
    except cameras.CameraError as error:  # as of one that was unplugged
      logging.warning('A RealSense: %s', error)
      return None

  def close(self) -> None:
    """Stops the camera."""
    _stop(self._pipeline)

  def _start(self, context: rs.context) -> None:
    """Starts the stream; returns when there is a first picture."""
    config = self._config
    pipeline = rs.pipeline(context)
    stream = rs.config()
    stream.enable_device(config.serial)
    stream.enable_stream(
      rs.stream.color, config.width, config.height, rs.format.rgb8, config.rate
    )
    if not stream.can_resolve(rs.pipeline_wrapper(pipeline)):
      raise _ConfigError(
        f'The RealSense {config.serial} has no pictures of {config.width} x '
        f'{config.height}, {config.rate} a second: choose what '
        'realsense-viewer offers for it. At USB 2 that is less than at USB 3.'
      )
    device = pipeline.start(stream).get_device()
    try:
      self._sensor = _find_colour_sensor(device)
      if config.exposure is not None:
        self._expose(config.exposure)
      pipeline.wait_for_frames(round(1000 * _FIRST_FRAME_S))
    except BaseException:
      # Left running it would be in use, by this process.
      _stop(pipeline)
      raise
    self._pipeline = pipeline

  def _expose(self, exposure: float) -> None:
    if self._sensor is None:
      raise _ConfigError(
        f'The RealSense {self._config.serial} has no exposure to be set; '
        f'expected None in its config, which has {exposure:g}.'
      )
    limits = self._sensor.get_option_range(rs.option.exposure)
    if not limits.min <= exposure <= limits.max:
      raise _ConfigError(
        f'The RealSense {self._config.serial} has no exposure of {exposure:g}; '
        f'expected {limits.min:g} to {limits.max:g}.'
      )
    self._sensor.set_option(rs.option.enable_auto_exposure, 0)
    self._sensor.set_option(rs.option.exposure, exposure)

  def _demand_unused(self, device: rs.device, error: Exception) -> None:
    """Raises a CameraError where another process uses the camera.

    A reset would end its stream.

    Args:
      device: the camera.
      error: for which it did not start.
    """
    used = holders.find(_files_of(device))
    is_busy = any(word in str(error).lower() for word in _BUSY)
    if used.processes or is_busy:
      raise cameras.CameraError(
        f'The RealSense {self._config.serial} is in use by {used.describe()} '
        f'({error}). End that process, such as realsense-viewer or another run.'
      ) from error

  def _reset(
    self, context: rs.context, device: rs.device, error: Exception
  ) -> None:
    """Resets the camera and starts it again."""
    logging.warning(
      'Resetting the RealSense %s (%s): its last process may have been killed.',
      self._config.serial,
      error,
    )
    device.hardware_reset()
    deadline = time.monotonic() + _RETURNING_S
    time.sleep(_LEAVING_S)
    while True:
      try:
        if self._config.serial not in serials(context):
          raise cameras.CameraError('it has not come back')
        return self._start(context)
      except Exception:  # whatever a camera says that is not yet ready
        if time.monotonic() >= deadline:
          raise
      time.sleep(_POLL_S)


def serials(context: rs.context | None = None) -> list[str]:
  """Returns the serial numbers of the cameras that are plugged in.

  Raises:
    CameraError: they cannot be listed.
  """
  devices, silent = _list_devices(_context(context))
  for error in silent:
    logging.warning('A RealSense cannot be read: %s', error)
  return list(devices)


@contextlib.contextmanager
def _translated(what: str):
  """Raises whatever librealsense does as a CameraError that begins with it."""
  try:
    yield
  except _ConfigError:
    raise
  except Exception as error:
    raise cameras.CameraError(f'{what} ({error})') from error


def _context(context: rs.context | None) -> rs.context:
  """Returns a context; by default that of the devices at USB."""
  if context is not None:
    return context
  with _translated('librealsense does not work'):
    return rs.context()


def _find(context: rs.context, serial: str) -> rs.device:
  """Returns a camera.

  Raises:
    CameraError: it is not there.
  """
  devices, silent = _list_devices(context)
  # librealsense would wait a quarter of a minute for it.
  if serial in devices:
    return devices[serial]
  found = f'There is no RealSense {serial}; there are {list(devices)}'
  if silent:
    found += f' and {len(silent)} that cannot be read ({"; ".join(silent)})'
  used = holders.find(holders.files_of_realsenses())
  if used.processes:
    found += f'. A RealSense is in use by {used.describe()}'
  raise cameras.CameraError(f'{found}. Is it plugged in?')


def _list_devices(
  context: rs.context,
) -> tuple[dict[str, rs.device], list[str]]:
  """Returns the cameras by their serials, and why others cannot be read.

  Raises:
    CameraError: none can be listed.
  """
  devices, silent = {}, []
  with _translated(
    'The RealSenses cannot be listed. Has this user the right to use them '
    "(librealsense's udev rules), and are they at USB 3?"
  ):
    listed = list(context.query_devices())
  for device in listed:
    try:
      with _translated('it tells no serial number'):
        serial = device.get_info(rs.camera_info.serial_number)
    except cameras.CameraError as error:  # one in recovery, or in use
      silent.append(str(error))
    else:
      devices[serial] = device
  return devices, silent


def _files_of(device: rs.device) -> tuple[str, ...]:
  """Returns a camera's files, none where it does not tell its port."""
  with contextlib.suppress(cameras.CameraError), _translated('it has no port'):
    return holders.files_of_usb(device.get_info(rs.camera_info.physical_port))
  return ()


def _stop(pipeline: rs.pipeline) -> None:
  try:
    with _translated('it is not stopped'):
      pipeline.stop()
  except cameras.CameraError as error:  # as of one that was unplugged
    logging.info('A RealSense: %s', error)


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
