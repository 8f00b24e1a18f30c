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
from serl.environments.franka import holders
from serl.environments.franka import realsense
from serl.environments.franka import software_realsense
from tests.environments.franka import holding

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


def test_a_resolution_that_it_does_not_have_is_named(device):
  other = dataclasses.replace(_CONFIG, width=640, height=480)
  with pytest.raises(cameras.CameraError, match='SOFT1 has no pictures of 640'):
    realsense.RealSense(other, device.context)


def test_an_exposure_that_it_does_not_have_is_named(device):
  other = dataclasses.replace(_CONFIG, exposure=20_000)
  with pytest.raises(cameras.CameraError, match='20000; expected 1 to 10000'):
    realsense.RealSense(other, device.context)
  # The camera is left as it was.
  realsense.RealSense(_CONFIG, device.context).close()


def test_a_library_that_does_not_work_is_a_camera_error(monkeypatch):
  def fail():
    raise RuntimeError('failed to create a context')

  monkeypatch.setattr(realsense.rs, 'context', fail)
  for use in (realsense.serials, lambda: realsense.RealSense(_CONFIG)):
    with pytest.raises(cameras.CameraError, match='create a context'):
      use()


class _Device:
  """A device in software with what only those at USB have."""

  def __init__(self, device, context):
    self._device = device
    self._context = context

  def __getattr__(self, name):
    return getattr(self._device, name)

  def get_info(self, what):
    if what == realsense.rs.camera_info.physical_port:
      return self._context.port
    return self._device.get_info(what)

  def hardware_reset(self):
    self._context.reset()


class _Broken:
  def get_info(self, _):
    raise RuntimeError('info not supported by the device!')


@pytest.fixture
def usb(view, monkeypatch):
  """Devices in software that seem to be at USB."""

  class Context(realsense.rs.context):
    port = ''
    others = ()
    resets = 0

    def query_devices(self):
      found = [_Device(found, self) for found in super().query_devices()]
      return [*self.others, *found]

    def reset(self):
      self.resets += 1

  monkeypatch.setattr(realsense.rs, 'context', Context)
  monkeypatch.setattr(realsense, '_LEAVING_S', 0.01)
  usb = software_realsense.SoftwareRealSense(
    {'SOFT1': view}, _HEIGHT, _WIDTH, _RATE
  )
  yield usb
  usb.close()


@pytest.fixture
def stall(usb, monkeypatch):
  """Has the camera give nothing, which is waited for but a moment."""

  def stall(returning_s):
    usb.stall('SOFT1')
    time.sleep(5 / _RATE)  # until what was under way has come
    monkeypatch.setattr(realsense, '_FIRST_FRAME_S', 0.2)
    monkeypatch.setattr(realsense, '_RETURNING_S', returning_s)

  return stall


def test_a_camera_that_gives_nothing_is_reset(usb, stall, caplog):
  # As one does whose last process was killed while it streamed.
  stall(returning_s=60.0)
  usb.context.reset = lambda: usb.resume('SOFT1')
  camera = realsense.RealSense(_CONFIG, usb.context)
  assert camera.grab().shape == (_HEIGHT, _WIDTH, 3)
  assert 'Resetting the RealSense SOFT1' in caplog.text
  camera.close()


def test_a_camera_that_no_reset_helps_is_to_be_unplugged(
  usb, stall, monkeypatch
):
  stall(returning_s=0.5)
  with pytest.raises(cameras.CameraError, match=r'SOFT1 .*nor after .*unplug'):
    realsense.RealSense(_CONFIG, usb.context)
  assert usb.context.resets == 1
  # Nothing is left running, which would be in the way of the next attempt.
  usb.resume('SOFT1')
  monkeypatch.setattr(realsense, '_FIRST_FRAME_S', 60.0)
  realsense.RealSense(_CONFIG, usb.context).close()


def test_a_camera_that_is_not_back_after_a_reset_is_to_be_unplugged(usb, stall):
  stall(returning_s=0.5)
  usb.context.reset = lambda: setattr(
    type(usb.context), 'query_devices', lambda self: []
  )
  with pytest.raises(cameras.CameraError, match=r'unplug.*not come back'):
    realsense.RealSense(_CONFIG, usb.context)


def test_another_camera_that_cannot_be_read_is_in_nobodys_way(usb):
  usb.context.others = (_Broken(),)
  realsense.RealSense(_CONFIG, usb.context).close()
  other = dataclasses.replace(_CONFIG, serial='SOFT2')
  with pytest.raises(
    cameras.CameraError, match=r"'SOFT1'.* 1 that cannot.*info"
  ):
    realsense.RealSense(other, usb.context)


def test_a_camera_in_use_is_not_reset_and_its_process_named(
  usb, stall, tmp_path, monkeypatch
):
  folder = tmp_path / 'sys/bus/usb/devices/2-1.4'
  folder.mkdir(parents=True)
  (folder / 'busnum').write_text('2\n')
  (folder / 'devnum').write_text('7\n')
  file = tmp_path / 'dev/bus/usb/002/007'
  file.parent.mkdir(parents=True)
  file.touch()
  monkeypatch.setattr(holders, '_SYSFS', str(tmp_path / 'sys'))
  monkeypatch.setattr(holders, '_DEV', str(tmp_path / 'dev'))
  usb.context.port = '2-1.4-7'
  stall(returning_s=0.5)
  with (
    holding.process(file) as holder,
    pytest.raises(
      cameras.CameraError, match=f'SOFT1 is in use by process {holder.pid} '
    ),
  ):
    realsense.RealSense(_CONFIG, usb.context)
  assert usb.context.resets == 0


def test_of_a_camera_in_use_what_was_not_found_is_said(usb):
  used = realsense.RealSense(_CONFIG, usb.context)
  with pytest.raises(
    cameras.CameraError, match='in use by a process that was not found'
  ):
    realsense.RealSense(_CONFIG, usb.context)
  assert usb.context.resets == 0
  used.close()


def test_frames_without_a_picture_are_an_error(usb):
  camera = realsense.RealSense(_CONFIG, usb.context)
  pipeline, camera._pipeline = camera._pipeline, _Empty()
  with pytest.raises(cameras.CameraError, match='without a colour picture'):
    camera.grab()
  pipeline.stop()
  camera.close()  # raises nothing of one that was unplugged


class _Empty:
  """A pipeline whose frames have no colour."""

  def wait_for_frames(self, timeout):
    return self

  def get_color_frame(self):
    return None

  def stop(self):
    raise RuntimeError('stop() cannot be called before start()')
