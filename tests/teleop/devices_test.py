"""What a command means as an action."""

import numpy as np
import pytest

from serl import core
from serl import specs
from serl.teleop import devices
from serl.testing import fakes

MOTION = np.float32([0.1, -0.2, 0.3, 0.4, -0.5, 0.6])


def _spec(size):
  return specs.BoundedArray((size,), np.float32, -1, 1, name='action')


@pytest.mark.parametrize(
  ('size', 'expected'),
  [
    (3, [0.1, -0.2, 0.3]),
    (4, [0.1, -0.2, 0.3, 0.95]),
    (6, [0.1, -0.2, 0.3, 0.4, -0.5, 0.6]),
    (7, [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.95]),
  ],
)
def test_the_length_of_the_action_tells_its_parts(size, expected):
  command = devices.Command(MOTION, 1)
  action = devices.make_action(command, _spec(size))
  np.testing.assert_allclose(action, expected, rtol=1e-6)
  assert action.dtype == np.float32


@pytest.mark.parametrize(
  ('closing', 'closes', 'expected'),
  [(1, 1, 0.95), (-1, 1, -0.95), (1, -1, -0.95), (0, 1, 0.0)],
)
def test_the_gripper_closes_by_the_sign_of_its_arm(closing, closes, expected):
  command = devices.Command(MOTION, closing)
  action = devices.make_action(command, _spec(4), closes=closes)
  assert action[3] == pytest.approx(expected)


def test_scales_the_motion_and_stays_within_the_bounds():
  command = devices.Command(MOTION, 1)
  action = devices.make_action(command, _spec(4), scale=5.0)
  np.testing.assert_allclose(action, [0.5, -1.0, 1.0, 0.95])


def test_is_taken_to_the_policys_frame_and_stays_within_the_bounds():
  command = devices.Command(MOTION, 0)
  action = devices.make_action(
    command, _spec(3), to_policy_frame=lambda action: -5 * action
  )
  np.testing.assert_allclose(action, [-0.5, 1.0, -1.0], rtol=1e-6)


def test_an_environment_may_decide_how_it_is_driven():
  class Arm:
    gripper_closes = -1

    def action_spec(self):
      return _spec(4)

    def to_tool_frame(self, action):
      return action[::-1]

  command = devices.Command(MOTION, 1)
  action = devices.make_action(command, **devices.conventions(Arm()))
  np.testing.assert_allclose(action, [-0.95, 0.3, -0.2, 0.1], rtol=1e-6)
  environment = fakes.FakeEnvironment(
    fakes.make_state_spec()._replace(actions=_spec(4))
  )
  action = devices.make_action(command, **devices.conventions(environment))
  np.testing.assert_allclose(action, [0.1, -0.2, 0.3, 0.95], rtol=1e-6)


def test_a_command_moves_when_anything_is_asked_for():
  still = np.zeros(6, np.float32)
  assert not devices.Command(still, 0).moves
  assert devices.Command(still, -1).moves
  assert devices.Command(MOTION, 0).moves


def test_the_actor_does_what_the_device_asks_at_that_moment():
  class Device:
    command = devices.Command(np.zeros(6, np.float32), 0)

    def read(self):
      return self.command

  device = Device()
  actor = devices.DeviceActor(lambda: device, _spec(3), scale=2.0)
  assert isinstance(actor, core.Actor)
  assert actor.select_action({}).tolist() == [0, 0, 0]
  device.command = devices.Command(MOTION, 0)
  np.testing.assert_allclose(actor.select_action({}), [0.2, -0.4, 0.6])


class _Comes:
  """A device that comes and goes."""

  def __init__(self):
    self.gone = self.closed = False
    self.begun = 0

  def open(self):
    if self.gone:
      raise devices.DeviceError('there is none')
    return self

  def read(self):
    if self.gone:
      raise devices.DeviceError('unplugged')
    return devices.Command(MOTION, 0)

  def begin_episode(self):
    self.begun += 1

  def close(self):
    self.closed = True


def test_a_device_that_is_gone_is_a_fault_until_it_is_back():
  device = _Comes()
  actor = devices.DeviceActor(device.open, _spec(3))
  device.gone = True
  with pytest.raises(core.FaultError, match='unplugged'):
    actor.select_action({})
  assert device.closed
  with pytest.raises(core.FaultError, match='is gone'):
    actor.select_action({})
  for wait in (actor.prepare, lambda: actor.observe_first(None)):
    with pytest.raises(core.FaultError, match='there is none'):
      wait()
  device.gone = False
  actor.observe_first(None)
  assert device.begun == 1
  np.testing.assert_allclose(actor.select_action({}), MOTION[:3])


def test_without_a_device_there_is_no_actor():
  device = _Comes()
  device.gone = True
  with pytest.raises(devices.DeviceError, match='there is none'):
    devices.DeviceActor(device.open, _spec(3))


@pytest.mark.parametrize('shape', [(5,), (), (2, 3)])
def test_refuses_actions_that_no_device_drives(shape):
  spec = specs.BoundedArray(shape, np.float32, -1, 1)
  with pytest.raises(ValueError, match=r'expected \[A\] with A one of'):
    devices.DeviceActor(lambda: None, spec)
