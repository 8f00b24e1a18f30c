"""A thread that reads commands."""

import queue

import numpy as np
import pytest

from serl.teleop import devices
from serl.teleop import watching
from tests.teleop import gamepad_stand_in

PUSH = devices.Command(np.ones(6, np.float32), 1)


class Source:
  """Commands, and errors, that a test puts in; None ends them."""

  def __init__(self):
    self._queue = queue.Queue()
    self.put = self._queue.put

  def __iter__(self):
    while (item := self._queue.get()) is not None:
      if isinstance(item, Exception):
        raise item
      yield item


@pytest.fixture(name='source')
def make_source():
  return Source()


@pytest.fixture(name='watched')
def watch(source):
  watched = watching.Watched(source)
  yield watched
  source.put(None)
  watched.join()


def _push(source, watched):
  source.put(PUSH)
  gamepad_stand_in.wait_for(lambda: watched.read() is PUSH)


def test_nothing_is_asked_for_until_something_is(source, watched):
  assert not watched.read().moves
  _push(source, watched)
  assert watched.read() is PUSH


def test_an_error_is_told_to_all_who_ask(source, watched):
  _push(source, watched)
  source.put(devices.DeviceError('unplugged'))
  watched.join()
  for _ in range(2):
    with pytest.raises(devices.DeviceError, match='unplugged'):
      watched.read()


def test_a_device_that_was_closed_asks_for_nothing_more(source, watched):
  _push(source, watched)
  source.put(None)
  watched.join()
  with pytest.raises(devices.DeviceError, match='closed'):
    watched.read()


@pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnhandledThreadExceptionWarning'
)
def test_no_defect_lets_the_arm_go_on(source, watched):
  _push(source, watched)
  source.put(KeyError('a defect'))
  watched.join()
  with pytest.raises(devices.DeviceError):
    watched.read()
