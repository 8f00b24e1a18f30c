"""Tests for live_view: over real HTTP."""

import io
import socket
import urllib.error
import urllib.request

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

imageio = pytest.importorskip('imageio.v2', reason='it comes with [sim]')

from serl import specs
from serl.environments.wrappers import live_view
from serl.testing import fakes


class _Environment(dm_env.Environment):
  """Observes two cameras, one of them as a stack of two."""

  def __init__(self, images=True):
    self._images = images
    self.brightness = 40
    self.closed = False

  def _observation(self):
    if not self._images:
      return {'state': np.zeros(2, np.float32)}
    stack = np.zeros((2, 16, 16, 3), np.uint8)
    stack[1] = self.brightness
    return {
      'front': np.full((16, 16, 3), 200, np.uint8),
      'wrist': stack,
      'state': np.zeros(2, np.float32),
    }

  def reset(self):
    return dm_env.restart(self._observation())

  def step(self, action):
    return dm_env.transition(0.0, self._observation())

  def observation_spec(self):
    return {
      name: specs.Array(array.shape, array.dtype, name)
      for name, array in self._observation().items()
    }

  def action_spec(self):
    return specs.BoundedArray((1,), np.float32, -1.0, 1.0)

  def close(self):
    self.closed = True


@pytest.fixture
def inner():
  return _Environment()


@pytest.fixture
def view(inner):
  view = live_view.LiveView(inner, port=0)
  yield view
  view.close()


def _next_picture(stream):
  """Returns the next picture of the stream as an array."""
  assert stream.readline() == b'--picture\r\n'
  assert stream.readline() == b'Content-Type: image/jpeg\r\n'
  assert stream.readline() == b'\r\n'
  encoded = b''
  while not encoded.endswith(b'\xff\xd9\r\n'):  # the end of a JPEG
    encoded += stream.readline()
  return np.asarray(imageio.imread(io.BytesIO(encoded[:-2])))


def test_the_page_shows_the_stream(view):
  with urllib.request.urlopen(view.url, timeout=10) as page:
    assert b'src="/stream"' in page.read()


def test_the_stream_shows_what_is_observed(view, inner):
  view.reset()
  with urllib.request.urlopen(f'{view.url}stream', timeout=10) as stream:
    picture = _next_picture(stream)
    assert picture.shape == (16, 32, 3)
    np.testing.assert_allclose(picture[:, :16], 200, atol=3)
    np.testing.assert_allclose(picture[:, 16:], 40, atol=3)
    inner.brightness = 120
    view.step(np.zeros(1))
    np.testing.assert_allclose(_next_picture(stream)[:, 16:], 120, atol=3)


def test_a_note_is_shown_until_it_is_taken_away(view):
  def note():
    with urllib.request.urlopen(f'{view.url}note', timeout=10) as answer:
      return answer.read().decode()

  assert note() == ''
  view.note('fault 3: <b>é\nsince 13:04:00')
  assert note() == 'fault 3: <b>é\nsince 13:04:00'
  # Before there is any picture, and as text: none of it is the page's.
  with urllib.request.urlopen(view.url, timeout=10) as page:
    assert b'note.textContent' in page.read()
  view.note('')
  assert note() == ''


def test_several_may_look(view):
  view.reset()
  streams = [
    urllib.request.urlopen(f'{view.url}stream', timeout=10) for _ in range(2)
  ]
  assert [_next_picture(stream).shape for stream in streams] == [
    (16, 32, 3)
  ] * 2
  for stream in streams:
    stream.close()


def test_what_is_observed_passes(view):
  timestep = view.reset()
  assert timestep.observation['wrist'].shape == (2, 16, 16, 3)
  assert not view.step(np.zeros(1)).first()


def test_closing_ends_the_page_and_the_environment(inner):
  view = live_view.LiveView(inner, port=0)
  port = int(view.url.rstrip('/').rpartition(':')[2])
  view.close()
  assert inner.closed
  with (
    pytest.raises(OSError),
    socket.create_connection(('127.0.0.1', port), timeout=2),
  ):
    pass


def test_it_is_served_to_this_computer_only(view):
  assert view.url.startswith('http://127.0.0.1:')


def test_another_page_is_not_there(view):
  with pytest.raises(urllib.error.HTTPError, match='404'):
    urllib.request.urlopen(f'{view.url}other', timeout=10)


def test_a_port_that_is_taken_is_an_error(inner):
  with socket.create_server(('127.0.0.1', 0)) as taken, pytest.raises(OSError):
    live_view.LiveView(inner, port=taken.getsockname()[1])


def test_without_images_there_is_nothing_to_see():
  with pytest.raises(ValueError, match='nothing to see'):
    live_view.LiveView(_Environment(images=False), port=0)


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    environment = fakes.FakeEnvironment(fakes.make_image_spec())
    return live_view.LiveView(environment, port=0)
