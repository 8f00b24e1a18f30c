"""Cameras that a thread reads, watches and restarts.

They are read in the process that acts. A camera's library that crashes ends it:
its finished episodes are on disk by then, the robot's server holds an arm that
gets no commands, and the run is resumed. A process for each camera would save
the unfinished episode alone, and put the way of all pictures between two
processes.
"""

from collections.abc import Callable
import contextlib
import threading
import time
from typing import Protocol

from absl import logging
import cv2
import numpy as np

from serl.environments.franka import cameras
from serl.environments.franka import config as config_lib
from serl.environments.franka import holders

_FIRST_PICTURE_S = 15.0  # that a camera may take to start
_RESTART_S = 0.5  # between two attempts to restart one
_REPORT_S = 5.0  # between two reports of one that does not come back
_BLACK = 2.0  # of 255, the mean of a picture of nothing


class Source(Protocol):
  """A camera that is open.

  It may have `exposure`, which returns a `cameras.Exposure`, or None.
  """

  def grab(self) -> np.ndarray:
    """Returns the next picture, [H, W, 3] uint8, RGB.

    Raises:
      CameraError: there is none in time, or the camera is gone.
    """

  def close(self) -> None:
    """Lets go of the camera."""


def prepare(
  image: np.ndarray, config: config_lib.CameraConfig, size: int
) -> np.ndarray:
  """Returns what of a picture is observed.

  Args:
    image: [H, W, 3] uint8.
    config: says which part is kept.
    size: height and width of the result.

  Returns:
    [size, size, 3] uint8; a part that is not square is squeezed.
  """
  part = image[slice(*(config.rows or (None,)))]
  part = part[:, slice(*(config.columns or (None,)))]
  # Of the pixels that become one the mean: less noise than one of them.
  return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)


class Capture:
  """A `cameras.Camera` over a source, of which only the newest picture is kept.

  A source that fails, or gives only black or only equal pictures, is closed and
  opened again until it works.
  """

  def __init__(
    self,
    open_source: Callable[[], Source],
    config: config_lib.CameraConfig,
    size: int,
    now: Callable[[], float] = time.monotonic,
  ):
    """Opens the camera; returns when there is a first picture.

    Args:
      open_source: opens it. Whatever it raises is raised as a CameraError.
      config: of the camera.
      size: height and width of what is observed.
      now: the environment's clock, s.

    Raises:
      CameraError: there is no such camera, or it gives no picture.
    """
    self._open_source = open_source
    self._config = config
    self._size = size
    self._now = now
    self._frame: cameras.Frame | None = None
    self._raw: np.ndarray | None = None
    self._arrived = -np.inf
    self._changed = self._lit = now()
    self._error = ''
    self._started = threading.Event()
    self._stop = threading.Event()
    self._source = source = self._open()  # the one that was opened last
    self._thread = threading.Thread(
      target=self._run, args=(source,), name=config.name, daemon=True
    )
    self._thread.start()
    if not self._started.wait(_FIRST_PICTURE_S):
      self.close()
      raise cameras.CameraError(
        f'The camera {config.name!r} ({config.serial}) gave no picture within '
        f'{_FIRST_PICTURE_S:g} s. {self._error}'.strip()
      )

  def read(self) -> cameras.Frame:
    """Returns the newest picture; never waits.

    Raises:
      CameraError: the camera is frozen, black, silent or gone.
    """
    problem = self._problem(since=-np.inf)
    if problem:
      raise cameras.CameraError(
        f'The camera {self._config.name!r} ({self._config.serial}) {problem}; '
        f'it is being restarted. {self._error}'.strip()
      )
    return self._frame

  def exposure(self) -> cameras.Exposure | None:
    """Returns the sensor's exposure, None where the camera does not tell."""
    try:
      if isinstance(self._source, cameras.HasExposure):
        return self._source.exposure()
      return None
    except Exception as error:  # noqa: BLE001
      logging.warning(
        'The camera %r tells no exposure: %s', self._config.name, error
      )
      return None

  def close(self) -> None:
    """Lets go of the camera."""
    self._stop.set()
    self._thread.join(_FIRST_PICTURE_S)

  def _open(self) -> Source:
    try:
      return self._open_source()
    except cameras.CameraError:
      raise
    except Exception as error:
      raise cameras.CameraError(
        f'The camera {self._config.name!r} ({self._config.serial}) cannot be '
        f'opened ({error}).'
      ) from error

  def _problem(self, since: float) -> str:
    """Returns what has been wrong for too long, '' if nothing.

    Args:
      since: when the camera was opened, s; before it nothing counts.
    """
    now, patience = self._now(), self._config.patience
    times = {
      'gives no pictures': self._arrived,
      'is black (a cap, or no light)': self._lit,
      'is frozen: its pictures are all the same': self._changed,
    }
    for problem, last in times.items():
      if now - max(last, since) > patience:
        return problem
    return ''

  def _run(self, source: Source | None) -> None:
    reported = -np.inf
    while not self._stop.is_set():
      try:
        with contextlib.closing(source or self._open()) as opened:
          source = None
          self._follow(opened)
      except Exception as error:  # noqa: BLE001
        # Whatever it is, also of a library that lost its device: to open the
        # camera again is what may help.
        self._error = str(error)
        if self._now() - reported > _REPORT_S:
          reported = self._now()
          logging.error(
            'Restarting the camera %r: %s', self._config.name, error
          )
      self._stop.wait(_RESTART_S)

  def _follow(self, source: Source) -> None:
    """Keeps the newest picture until the source fails or it is closed."""
    self._source, opened = source, self._now()
    while not self._stop.is_set():
      self._take(source.grab())
      problem = self._problem(since=opened)
      if problem:
        raise cameras.CameraError(f'it {problem}')

  def _take(self, image: np.ndarray) -> None:
    expected = (self._config.height, self._config.width, 3)
    if image.shape != expected:
      # What is cut out of it would be something else.
      raise cameras.CameraError(
        f'it gives pictures of {image.shape}, expected {expected}: choose a '
        'width and a height that it has'
      )
    now = self._now()
    self._arrived = now
    repeats = self._raw is not None and np.array_equal(image, self._raw)
    if self._config.noiseless or not repeats:
      self._changed = now
    if image.mean() > _BLACK:
      self._lit = now
    self._raw = image
    image = prepare(image, self._config, self._size)
    # Whoever has it keeps it while the next ones come.
    image.setflags(write=False)
    self._frame = cameras.Frame(image, self._changed)
    self._started.set()


class VideoDevice:
  """A `Source`: a camera that the system knows as a video device (V4L2)."""

  def __init__(self, config: config_lib.CameraConfig):
    """Opens the camera.

    Raises:
      CameraError: it cannot be opened.
    """
    serial = config.serial
    self._name = serial
    self._capture = cv2.VideoCapture(
      int(serial) if serial.isdigit() else serial
    )
    self._path = f'/dev/video{serial}' if serial.isdigit() else serial
    if not self._capture.isOpened():
      raise cameras.CameraError(
        f'Cannot open the video device {serial!r}; expected one of '
        '/dev/video*, or its number, that no other process uses'
        f'{self._used()}.'
      )
    settings = {
      cv2.CAP_PROP_FRAME_WIDTH: config.width,
      cv2.CAP_PROP_FRAME_HEIGHT: config.height,
      cv2.CAP_PROP_FPS: config.rate,
      cv2.CAP_PROP_BUFFERSIZE: 1,
    }
    if config.exposure is not None:
      settings[cv2.CAP_PROP_AUTO_EXPOSURE] = 1  # V4L2's number for manual
      settings[cv2.CAP_PROP_EXPOSURE] = config.exposure
    for setting, value in settings.items():
      self._capture.set(setting, value)

  def grab(self) -> np.ndarray:
    """Returns the next picture, [H, W, 3] uint8, RGB.

    Raises:
      CameraError: there is none.
    """
    taken, image = self._capture.read()
    if not taken:
      raise cameras.CameraError(
        f'the video device {self._name!r} gives no picture{self._used()}'
      )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

  def close(self) -> None:
    """Lets go of the camera."""
    self._capture.release()

  def _used(self) -> str:
    """Returns which other process has the device open, '' if none is found."""
    used = holders.find([self._path])
    return f'; it is in use by {used.describe()}' if used.processes else ''
