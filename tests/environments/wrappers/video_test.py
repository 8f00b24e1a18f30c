import pathlib
import tempfile

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from serl.environments.wrappers import video
from serl.testing import fakes

imageio = pytest.importorskip('imageio.v2', reason='it comes with [sim]')


class _Painter(dm_env.Environment):
  """Paints its step count in grey; 10 steps an episode."""

  def __init__(self, control_timestep):
    self.control_timestep = control_timestep
    self.closed = False
    self._step = 10

  def reset(self):
    self._step = 0
    return dm_env.restart(np.zeros(1))

  def step(self, action):
    if self._step == 10:
      return self.reset()
    self._step += 1
    make = dm_env.truncation if self._step == 10 else dm_env.transition
    return make(0.0, np.zeros(1))

  def observation_spec(self):
    return specs.Array((1,), float)

  def action_spec(self):
    return specs.Array((1,), float)

  def render(self, camera, height, width):
    assert camera == 'picture'
    return np.full((height, width, 3), 20 * self._step, np.uint8)

  def close(self):
    self.closed = True


class VideoRecorderTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    path = pathlib.Path(folder.name) / 'film.mp4'
    return video.VideoRecorder(_Painter(0.1), path, height=16, width=16)


def test_a_real_arm_is_refused_before_it_moves(tmp_path):
  path = tmp_path / 'film.mp4'
  with pytest.raises(ValueError, match='Leave out --video'):
    video.VideoRecorder(fakes.FakeEnvironment(fakes.make_state_spec()), path)
  assert not path.exists()


@pytest.mark.parametrize('control_timestep, shown', [(0.1, 1), (0.02, 2)])
def test_films_an_episode_in_real_time(tmp_path, control_timestep, shown):
  painter = _Painter(control_timestep)
  path = tmp_path / 'film.mp4'
  film = video.VideoRecorder(painter, path, height=64, width=96)
  timestep = film.reset()
  while not timestep.last():
    timestep = film.step(np.zeros(1))
  film.close()
  assert painter.closed
  reader = imageio.get_reader(path)
  frames = [frame.mean() for frame in reader]
  assert frames == pytest.approx([20 * s for s in range(0, 11, shown)], abs=4)
  seconds = len(frames) / reader.get_meta_data()['fps']
  assert seconds == pytest.approx(11 * control_timestep, abs=control_timestep)


def test_films_what_has_no_clock(tmp_path):
  path = tmp_path / 'film.mp4'
  environment = video.VideoRecorder(_Painter(None), path, height=16, width=16)
  environment.reset()
  for _ in range(10):
    environment.step(np.zeros(1))
  environment.close()
  assert imageio.get_reader(path).count_frames() == 11
