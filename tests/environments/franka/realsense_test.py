"""Tests for realsense: librealsense itself over a device in software."""

import dataclasses
import time

import numpy as np
import pytest

pytest.importorskip(
  'pyrealsense2', reason='the extra [franka] or libusb-1.0-0 is missing'
)
pytest.importorskip('cv2', reason='the extra [franka] is missing')

from serl.environments.franka import cameras
from serl.environments.franka import capture
from serl.environments.franka import config as config_lib
from serl.environments.franka import realsense
from serl.environments.franka import software_realsense

_WIDTH, _HEIGHT, _RATE = 64, 48, 30
_CONFIG = config_lib.CameraConfig(
  'wrist', 'SOFT1', width=_WIDTH, height=_HEIGHT, columns=(8, 56)
)


def _wait_until(condition):
  deadline = time.monotonic() + 20.0
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.01)


class _View:
  """What the device without hardware sees: `image`, with a sensor's noise."""

  def __init__(self):
    self.image = np.full((_HEIGHT, _WIDTH, 3), 100, np.uint8)
    self._rng = np.random.default_rng(0)

  def read(self):
    noise = self._rng.integers(0, 3, self.image.shape, np.uint8)
    return cameras.Frame(self.image + noise, time.monotonic())

  def close(self):
    pass


@pytest.fixture
def view():
  return _View()


@pytest.fixture
def device(view):
  device = software_realsense.SoftwareRealSense(
    {'SOFT1': view}, _HEIGHT, _WIDTH, _RATE
  )
  yield device
  device.close()


def _works(camera):
  try:
    camera.read()
  except cameras.CameraError:
    return False
  return True


def test_pictures_come_through_librealsense_cut_and_scaled(device, view):
  view.image[:, :8] = view.image[:, 56:] = 250  # is cut off
  view.image[:, 8:56, 0] = 30  # red
  camera = capture.Capture(
    lambda: realsense.RealSense(_CONFIG, device.context), _CONFIG, size=16
  )
  frame = camera.read()
  camera.close()
  assert frame.image.shape == (16, 16, 3)
  np.testing.assert_allclose(frame.image[..., 0], 31, atol=2)
  np.testing.assert_allclose(frame.image[..., 1:], 101, atol=2)


def test_a_camera_that_stalls_is_noticed_and_comes_back(device):
  camera = capture.Capture(
    lambda: realsense.RealSense(_CONFIG, device.context), _CONFIG, size=16
  )
  device.stall('SOFT1')
  _wait_until(lambda: not _works(camera))
  with pytest.raises(cameras.CameraError, match='being restarted'):
    camera.read()
  device.resume('SOFT1')
  _wait_until(lambda: _works(camera))
  camera.close()


@pytest.mark.parametrize(
  'asked, found', [(None, (156, True)), (300, (300, False))]
)
def test_the_exposure_is_set_and_told(device, asked, found):
  config = dataclasses.replace(_CONFIG, exposure=asked)
  camera = capture.Capture(
    lambda: realsense.RealSense(config, device.context), config, size=16
  )
  assert camera.exposure() == cameras.Exposure(*found)
  camera.close()


def test_the_cameras_are_told(device):
  assert realsense.serials(device.context) == ['SOFT1']


def test_another_serial_is_refused(device):
  other = config_lib.CameraConfig('wrist', 'SOFT2', width=64, height=48)
  with pytest.raises(cameras.CameraError, match=r'no RealSense SOFT2.*SOFT1'):
    realsense.RealSense(other, device.context)
