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
    self.is_empty = self._queue.empty

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
  gamepad_stand_in.wait_for(lambda: watched.read().motion is PUSH.motion)


def test_nothing_is_asked_for_until_something_is(source, watched):
  assert not watched.read().moves
  _push(source, watched)
  assert watched.read().motion is PUSH.motion


def _told(source, *closings):
  """Has commands told, and waits until all are taken in."""
  still = np.zeros(6, np.float32)
  for closing in closings:
    source.put(devices.Command(still, closing))
  # Who asks for one more has taken in those before.
  source.put(devices.Command(still, closings[-1]))
  gamepad_stand_in.wait_for(source.is_empty)


@pytest.mark.parametrize('button', [1, -1])
def test_a_click_between_two_reads_is_read_once(source, watched, button):
  _told(source, 0, button, 0)
  assert [watched.read().closing for _ in range(3)] == [button, 0, 0]


def test_a_button_that_was_read_is_not_read_again_when_let_go(source, watched):
  _told(source, 1)
  assert [watched.read().closing for _ in range(2)] == [1, 1]
  _told(source, 1, 0)
  assert watched.read().closing == 0


def test_a_click_may_be_forgotten(source, watched):
  _told(source, 1, 0)
  watched.forget()
  assert watched.read().closing == 0


def test_of_several_presses_the_last_one_counts(source, watched):
  _told(source, 1, 0, -1, 0)
  assert [watched.read().closing for _ in range(2)] == [-1, 0]


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
