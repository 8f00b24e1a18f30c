import httpx
import numpy as np
import pytest
from scipy.spatial import transform

from robot_server import protocol
from robot_server import testing

DOWN = [1.0, 0.0, 0.0, 0.0]


class Clock:
  time = 0.0

  def __call__(self):
    return self.time


def test_the_tool_nears_its_target():
  clock = Clock()
  driver = testing.KinematicDriver(now=clock)
  turn = transform.Rotation.from_euler('xyz', [np.pi - 0.2, 0, 0]).as_quat()
  driver.command_pose([0.6, 0.0, 0.3, *turn])

  clock.time = 0.05
  state = driver.read_state()

  # One time constant: 1 / e of the way is left.
  left = np.exp(-1)
  np.testing.assert_allclose(state.pose[:3], [0.6 - 0.1 * left, 0, 0.3])
  rest = transform.Rotation.from_quat(state.pose[3:]).inv()
  rest *= transform.Rotation.from_quat(turn)
  np.testing.assert_allclose(rest.magnitude(), 0.2 * left)
  np.testing.assert_allclose(state.vel[0], 0.1 * (1 - left) / 0.05)


def test_a_silent_arm():
  clock = Clock()
  driver = testing.KinematicDriver(now=clock)
  driver.silent_since = 0.0
  clock.time = 0.2
  assert driver.read_state().time == 0.0
  clock.time = 0.3
  with pytest.raises(protocol.StaleStateError):
    driver.read_state()


def test_a_server_that_has_ended_answers_nobody():
  with httpx.Client() as client:
    with testing.serving(testing.KinematicDriver()) as url:
      assert client.post(url + 'getq').status_code == 200
    with pytest.raises(httpx.TransportError):
      client.post(url + 'getq')
