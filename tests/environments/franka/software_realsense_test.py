"""Pictures go in and come out of librealsense as they were."""

import time

import numpy as np
import pytest

rs = pytest.importorskip(
  'pyrealsense2', reason='the extra [franka] or libusb-1.0-0 is missing'
)

from serl.environments.franka import cameras
from serl.environments.franka import config as config_lib
from serl.environments.franka import realsense
from serl.environments.franka import software_realsense

SERIALS = ('SIM1', 'SIM2')
HEIGHT, WIDTH, RATE = 48, 64, 30


class Ramp:
  """A camera whose pictures count, in red, and are told apart in blue."""

  def __init__(self, blue):
    self.blue = blue
    self.reads = 0
    self.closed = False

  def read(self):
    self.reads += 1
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = self.reads % 256
    image[:, WIDTH // 2 :, 2] = self.blue
    return cameras.Frame(image, 0.0)

  def close(self):
    self.closed = True


@pytest.fixture(name='ramps')
def make_ramps():
  return {serial: Ramp(50 * (1 + i)) for i, serial in enumerate(SERIALS)}


@pytest.fixture(name='devices')
def make_devices(ramps):
  devices = software_realsense.SoftwareRealSense(ramps, HEIGHT, WIDTH, RATE)
  yield devices
  devices.close()


def start(devices, serial):
  config = config_lib.CameraConfig(
    'wrist', serial, width=WIDTH, height=HEIGHT, rate=RATE
  )
  return realsense.RealSense(config, devices.context)


def test_pictures_come_out_by_serial(devices, ramps):
  assert sorted(realsense.serials(devices.context)) == list(SERIALS)
  for serial in SERIALS:
    camera = start(devices, serial)
    images = [camera.grab() for _ in range(5)]
    camera.close()
    for image in images:
      assert image.shape == (HEIGHT, WIDTH, 3)
      assert (image[:, : WIDTH // 2, 2] == 0).all()
      assert (image[:, WIDTH // 2 :, 2] == ramps[serial].blue).all()
    counts = [int(image[0, 0, 0]) for image in images]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def grab_in_time(camera):
  """Returns a picture, however busy the machine is that has to draw it."""
  deadline = time.monotonic() + 20
  while True:
    try:
      return camera.grab()
    except cameras.CameraError:
      assert time.monotonic() < deadline


def test_a_stalled_camera_times_out_and_comes_back(devices):
  camera = start(devices, 'SIM1')
  camera.grab()
  devices.stall('SIM1')
  with pytest.raises(cameras.CameraError, match="didn't arrive"):
    for _ in range(100):  # what is in the queues comes first
      camera.grab()
  devices.resume('SIM1')
  grab_in_time(camera)
  camera.close()


def test_the_twin_is_seen_by_what_captures_the_real_cameras():
  pytest.importorskip('mujoco', reason='the extra [sim] is not installed')
  pytest.importorskip('cv2', reason='the extra [franka] is missing')
  from serl.environments.franka import capture
  from serl.environments.sim import insertion
  from serl.environments.sim import opengl
  from serl.environments.sim import wrist_cameras

  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(str(error))
  twin = insertion.Insertion().twin
  direct = wrist_cameras.WristCamera(twin, 'wrist_1', HEIGHT, WIDTH)
  expected = direct.read().image
  direct.close()
  devices = software_realsense.SoftwareRealSense(
    {'SIM1': wrist_cameras.WristCamera(twin, 'wrist_1', HEIGHT, WIDTH)},
    HEIGHT,
    WIDTH,
    RATE,
  )
  config = config_lib.CameraConfig(
    'wrist',
    'SIM1',
    width=WIDTH,
    height=HEIGHT,
    rate=RATE,
    columns=(8, 56),
    noiseless=True,  # nothing moves, and nothing trembles
    patience=20.0,  # a busy machine draws slowly
  )
  camera = capture.Capture(
    lambda: realsense.RealSense(config, devices.context), config, size=24
  )
  image = camera.read().image
  camera.close()
  devices.close()
  np.testing.assert_array_equal(image, capture.prepare(expected, config, 24))
  assert image.std() > 10


def test_closing_closes_the_cameras(ramps):
  devices = software_realsense.SoftwareRealSense(ramps, HEIGHT, WIDTH, RATE)
  devices.close()
  assert all(ramp.closed for ramp in ramps.values())
