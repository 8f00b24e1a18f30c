"""RealSense cameras in software: pictures that come out of librealsense.

What captures from a RealSense captures from these, given their context: the
same pipelines, queues and time-outs, with the pictures of a simulation.
"""

from collections.abc import Mapping
import threading
import time
from typing import Any

import numpy as np
import pyrealsense2 as rs

from serl.environments.franka import cameras as cameras_lib

_APPEARING = 5.0  # s that librealsense gets to list a new device


class SoftwareRealSense:
  """Feeds pictures into software devices, at a rate, from a thread."""

  def __init__(
    self,
    cameras: Mapping[str, cameras_lib.Camera],
    height: int = 480,
    width: int = 640,
    rate: int = 30,
  ):
    """Creates the devices and begins to feed them.

    Args:
      cameras: by the serial number of each device, what it sees. They are
        read, and closed at the end, by one thread: OpenGL asks for that.
      height: of their pictures, pixels.
      width: of their pictures, pixels.
      rate: pictures a second; a device whose camera is slower skips some.

    Raises:
      TimeoutError: if librealsense does not list the devices.
    """
    self._cameras = dict(cameras)
    self._rate = rate
    self._stalled: set[str] = set()
    self._closed = threading.Event()
    self.context = rs.context()  # to capture with
    # Without a reference to what this callback is given no device appears.
    self._appeared: list[Any] = []
    self.context.set_devices_changed_callback(
      lambda change: self._appeared.append(change.get_new_devices())
    )
    # By serial: the device, its sensor and the profile of its stream. A device
    # that nobody holds is gone.
    self._devices = {
      serial: self._add_device(serial, height, width) for serial in cameras
    }
    deadline = time.monotonic() + _APPEARING
    while len(self.context.query_devices()) < len(self._devices):
      if time.monotonic() > deadline:
        raise TimeoutError(
          f'librealsense lists {len(self.context.query_devices())} devices '
          f'after {_APPEARING} s; expected {sorted(self._devices)}.'
        )
      time.sleep(0.01)
    self._thread = threading.Thread(
      target=self._run, name='software_realsense', daemon=True
    )
    self._thread.start()

  def stall(self, serial: str) -> None:
    """Lets a device give no more pictures until it is resumed."""
    self._stalled.add(serial)

  def resume(self, serial: str) -> None:
    """Lets a stalled device give pictures again."""
    self._stalled.discard(serial)

  def close(self) -> None:
    """Ends the feeding; captures time out from then on."""
    self._closed.set()
    self._thread.join()

  def _add_device(self, serial: str, height: int, width: int) -> tuple:
    device = rs.software_device()
    device.register_info(rs.camera_info.serial_number, serial)
    device.register_info(rs.camera_info.name, 'Intel RealSense D405')
    sensor = device.add_sensor('RGB Camera')
    intrinsics = rs.intrinsics()
    intrinsics.width, intrinsics.height = width, height
    intrinsics.ppx, intrinsics.ppy = width / 2, height / 2
    intrinsics.fx = intrinsics.fy = float(height)
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid = rs.stream.color, 0, 1
    stream.width, stream.height = width, height
    stream.fps, stream.bpp = self._rate, 3
    stream.fmt, stream.intrinsics = rs.format.rgb8, intrinsics
    profile = sensor.add_video_stream(stream, True)
    # What they are changes no picture.
    sensor.add_option(rs.option.exposure, _range(1, 10_000, 156), True)
    sensor.add_option(rs.option.enable_auto_exposure, _range(0, 1, 1), True)
    device.create_matcher(rs.matchers.default)
    device.add_to(self.context)
    return device, sensor, profile

  def _run(self) -> None:
    begin = time.monotonic()
    number = 0
    try:
      while not self._closed.wait(
        max(0.0, begin + number / self._rate - time.monotonic())
      ):
        for serial, camera in self._cameras.items():
          if serial not in self._stalled:
            elapsed = time.monotonic() - begin
            self._feed(serial, camera.read().image, number, elapsed)
        # Pictures that are late are left out, not made up for.
        number = max(number + 1, int((time.monotonic() - begin) * self._rate))
    finally:
      for camera in self._cameras.values():
        camera.close()

  def _feed(
    self, serial: str, image: np.ndarray, number: int, elapsed: float
  ) -> None:
    _, sensor, profile = self._devices[serial]
    frame = rs.software_video_frame()
    frame.stride, frame.bpp = 3 * image.shape[1], 3
    frame.pixels = image
    frame.timestamp = 1e3 * elapsed
    frame.domain = rs.timestamp_domain.system_time
    frame.frame_number = number
    frame.profile = profile.as_video_stream_profile()
    sensor.on_video_frame(frame)


def _range(low: float, high: float, default: float) -> rs.option_range:
  limits = rs.option_range()
  limits.min, limits.max, limits.step, limits.default = low, high, 1, default
  return limits
