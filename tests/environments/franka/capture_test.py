"""Tests for capture."""

import queue
import time

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2', reason='the extra [franka] is missing')

from serl.environments.franka import cameras
from serl.environments.franka import capture
from serl.environments.franka import config as config_lib

_CONFIG = config_lib.CameraConfig('wrist', 'S1', width=8, height=6)


def test_the_part_that_is_kept_is_cut_out():
  image = np.zeros((6, 8, 3), np.uint8)
  image[1:5, 2:6] = 100
  config = config_lib.CameraConfig(
    'wrist', 'S1', width=8, height=6, rows=(1, 5), columns=(2, 6)
  )
  np.testing.assert_array_equal(
    capture.prepare(image, config, 2), np.full((2, 2, 3), 100)
  )


def test_without_a_part_the_whole_picture_is_scaled():
  image = np.zeros((6, 8, 3), np.uint8)
  image[:, :4] = 200
  np.testing.assert_array_equal(
    capture.prepare(image, _CONFIG, 2)[:, :, 0], [[200, 0], [200, 0]]
  )


class _Source:
  """Gives what a test puts in; an error is raised."""

  def __init__(self):
    self.pictures = queue.Queue()
    self.opened = 0
    self.closed = 0
    self.fails_to_open = False
    self.fails_to_close = False

  def open(self):
    if self.fails_to_open:
      raise cameras.CameraError('there is no such camera')
    self.opened += 1
    return self

  def grab(self):
    try:
      picture = self.pictures.get(timeout=0.02)
    except queue.Empty:
      raise cameras.CameraError('no picture arrived') from None
    if isinstance(picture, Exception):
      raise picture
    return picture

  def close(self):
    self.closed += 1
    if self.fails_to_close:
      raise RuntimeError('the device is not there to be closed')

  def show(self, value):
    """Has a picture taken and waits until it is."""
    self.pictures.put(np.full((6, 8, 3), value, np.uint8))
    _wait_until(self.pictures.empty)


class _Clock:
  def __init__(self):
    self.time = 50.0

  def __call__(self):
    return self.time


def _wait_until(condition):
  deadline = time.monotonic() + 20.0
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.002)


def _reads(camera, value):
  """Returns whether the camera works and shows this value."""
  try:
    return camera.read().image.max() == value
  except cameras.CameraError:
    return False


@pytest.fixture
def clock():
  return _Clock()


@pytest.fixture
def source():
  return _Source()


@pytest.fixture
def make(source, clock, monkeypatch):
  monkeypatch.setattr(capture, '_RESTART_S', 0.01)
  made = []

  def make(**changes):
    fields = {'width': 8, 'height': 6, **changes}
    config = config_lib.CameraConfig('wrist', 'S1', **fields)
    source.pictures.put(np.full((6, 8, 3), 10, np.uint8))
    made.append(capture.Capture(source.open, config, 2, clock))
    return made[-1]

  yield make
  for camera in made:
    camera.close()


def test_the_newest_picture_is_read_with_its_time(make, source, clock):
  camera = make()
  frame = camera.read()
  np.testing.assert_array_equal(frame.image, np.full((2, 2, 3), 10))
  assert frame.time == 50.0
  clock.time = 50.2
  source.show(20)
  source.show(30)
  _wait_until(lambda: _reads(camera, 30))
  assert camera.read().time == 50.2


def test_a_picture_stays_what_it_was(make, source):
  camera = make()
  image = camera.read().image
  with pytest.raises(ValueError, match='read-only'):
    image[:] = 0
  source.show(99)
  _wait_until(lambda: _reads(camera, 99))
  assert image.max() == 10


def test_a_source_need_not_tell_its_exposure(make, source):
  camera = make()
  assert camera.exposure() is None
  source.exposure = lambda: cameras.Exposure(156.0, automatic=True)
  assert camera.exposure() == (156.0, True)


def test_pictures_of_another_size_are_none(make, source, clock):
  camera = make(patience=0.5)
  source.pictures.put(np.full((3, 4, 3), 30, np.uint8))
  _wait_until(lambda: source.closed == 1)
  clock.time += 1.0
  with pytest.raises(cameras.CameraError, match=r'of \(3, 4, 3\), expected'):
    camera.read()


def test_silence_is_noticed(make, clock):
  camera = make()
  clock.time += 0.3
  camera.read()
  clock.time += 0.2
  with pytest.raises(cameras.CameraError, match=r"'wrist' .* no pictures"):
    camera.read()


def _show_for(source, clock, value, seconds):
  for _ in range(round(seconds / 0.1)):
    clock.time += 0.1
    source.show(value)


def test_a_frozen_picture_is_noticed_and_the_camera_restarted(
  make, source, clock
):
  camera = make()
  _show_for(source, clock, 10, 0.7)
  with pytest.raises(cameras.CameraError, match='frozen'):
    camera.read()
  opened = source.opened
  source.show(11)
  _wait_until(lambda: source.opened > opened or _reads(camera, 11))
  _wait_until(lambda: source.pictures.empty())
  source.show(12)
  _wait_until(lambda: _reads(camera, 12))


def test_a_frozen_picture_stays_as_old_as_it_is(make, source, clock):
  camera = make()
  _show_for(source, clock, 10, 0.3)
  assert camera.read().time == 50.0
  clock.time = 50.35
  source.show(11)
  _wait_until(lambda: _reads(camera, 11))
  assert camera.read().time == 50.35


def test_a_renderers_pictures_may_be_equal(make, source, clock):
  camera = make(noiseless=True)
  _show_for(source, clock, 10, 0.7)
  _wait_until(lambda: camera.read().time == clock.time)


def test_darkness_is_noticed(make, source, clock):
  camera = make()
  for value in (1, 0) * 4:
    _show_for(source, clock, value, 0.1)
  with pytest.raises(cameras.CameraError, match='black'):
    camera.read()


def test_an_unplugged_camera_is_opened_again(make, source, clock):
  camera = make()
  source.fails_to_open = True
  source.pictures.put(cameras.CameraError('the device has gone'))
  _wait_until(lambda: source.closed >= 1)
  clock.time += 0.6
  with pytest.raises(cameras.CameraError, match='being restarted'):
    camera.read()
  source.fails_to_open = False
  source.show(40)
  _wait_until(lambda: _reads(camera, 40))


def test_an_error_of_the_library_is_no_end_of_it(make, source, clock):
  camera = make()
  source.fails_to_close = True
  source.pictures.put(RuntimeError('null pointer'))
  source.pictures.put(cameras.CameraError('the device has gone'))
  _wait_until(lambda: source.closed >= 2)
  clock.time += 0.6
  with pytest.raises(cameras.CameraError, match=r'being restarted\. the dev'):
    camera.read()
  source.fails_to_close = False
  source.show(40)
  _wait_until(lambda: _reads(camera, 40))


def test_whatever_a_library_raises_is_a_camera_error(make, source):
  def fail():
    raise RuntimeError('failed to set power state')

  with pytest.raises(cameras.CameraError, match=r"'wrist'.*set power state"):
    capture.Capture(fail, _CONFIG, 2)
  source.exposure = fail
  assert make().exposure() is None


def test_a_camera_that_is_not_there_is_refused(source):
  source.fails_to_open = True
  with pytest.raises(cameras.CameraError, match='no such camera'):
    capture.Capture(source.open, _CONFIG, 2)


def test_a_camera_without_a_first_picture_is_refused(source, monkeypatch):
  monkeypatch.setattr(capture, '_FIRST_PICTURE_S', 0.1)
  with pytest.raises(cameras.CameraError, match='gave no picture'):
    capture.Capture(source.open, _CONFIG, 2)
  assert source.closed >= 1


def test_closing_ends_the_thread_and_the_source(make, source):
  make().close()
  assert source.opened == source.closed


def test_a_video_device_that_is_not_there_is_refused():
  config = config_lib.CameraConfig('front', '/dev/video-none', kind='opencv')
  with pytest.raises(cameras.CameraError, match='video-none'):
    capture.VideoDevice(config)


def test_a_video_file_is_read_like_a_device(tmp_path):
  # No virtual device without a kernel module; OpenCV reads both alike.
  path = tmp_path / 'video.avi'
  writer = cv2.VideoWriter(
    str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48)
  )
  blue = np.zeros((48, 64, 3), np.uint8)
  blue[:, :, 0] = 255  # OpenCV writes BGR
  for _ in range(3):
    writer.write(blue)
  writer.release()
  config = config_lib.CameraConfig('front', str(path), kind='opencv')
  source = capture.VideoDevice(config)
  image = source.grab()
  assert image.shape == (48, 64, 3)
  assert image[:, :, 2].min() > 200 and image[:, :, 0].max() < 60
  with pytest.raises(cameras.CameraError, match='gives no picture'):
    for _ in range(5):
      source.grab()
  source.close()
