"""Tests for intervention."""

import numpy as np
import pytest

from serl import core
from serl import environment_loop
from serl import specs
from serl.replay import adders
from serl.teleop import devices
from serl.teleop import intervention
from serl.testing import fakes

_SPEC = specs.BoundedArray((6,), np.float32, -1.0, 1.0)
_POLICY = np.full(6, 0.25, np.float32)


class _Policy(fakes.FakeActor):
  """Always acts alike."""

  def __init__(self, spec=None):
    super().__init__(spec or fakes.make_state_spec())

  def select_action(self, observation):
    self.calls.append('select_action')
    return _POLICY


class _Device:
  """Is moved by a test."""

  def __init__(self):
    self.motion = np.zeros(6, np.float32)
    self.closing = 0
    self.gone = False
    self.closed = False

  def read(self):
    if self.gone:
      raise devices.DeviceError('unplugged')
    return devices.Command(self.motion, self.closing)

  def close(self):
    self.closed = True


class _Time:
  def __init__(self):
    self.now = 10.0

  def __call__(self):
    return self.now


def _make(spec=_SPEC, **kwargs):
  device, time, policy = _Device(), _Time(), _Policy()
  actor = intervention.InterventionActor(
    policy, lambda: device, spec, now=time, **kwargs
  )
  return actor, device, time, policy


def _push(device, **axes):
  names = ('x', 'y', 'z', 'rx', 'ry', 'rz')
  device.motion = np.array([axes.get(n, 0.0) for n in names], np.float32)


def test_is_an_actor():
  assert isinstance(_make()[0], core.Actor)


def test_the_policy_acts_while_nobody_moves_the_device():
  actor, *_ = _make()
  np.testing.assert_array_equal(actor.select_action(None), _POLICY)
  assert actor.step_extras() == {'intervened': 0}


def test_the_person_acts_while_they_move_it():
  actor, device, _, policy = _make(scale=0.5)
  _push(device, x=1.0, rz=-0.5)
  np.testing.assert_array_equal(
    actor.select_action(None), np.float32((0.5, 0, 0, 0, 0, -0.25))
  )
  assert actor.step_extras() == {'intervened': 1}
  assert 'select_action' not in policy.calls


def test_the_person_is_in_charge_for_half_a_second_after_the_last_motion():
  actor, device, time, _ = _make()
  _push(device, y=1.0)
  actor.select_action(None)
  _push(device)
  chosen = []
  for elapsed in (0.1, 0.4, 0.51):
    time.now = 10.0 + elapsed
    chosen.append(actor.select_action(None))
  np.testing.assert_array_equal(chosen[0], np.zeros(6))
  np.testing.assert_array_equal(chosen[1], np.zeros(6))
  np.testing.assert_array_equal(chosen[2], _POLICY)


def test_a_button_closes_the_gripper_of_the_real_arm():
  spec = specs.BoundedArray((7,), np.float32, -1.0, 1.0)
  actor, device, *_ = _make(spec)
  device.closing = 1
  assert actor.select_action(None)[6] < -0.5


def test_the_action_is_in_the_policys_frame_and_within_its_bounds():
  # Turned by an eighth, a motion along both axes is along one, and longer.
  turn = np.eye(6, dtype=np.float32)
  turn[:2, :2] = np.sqrt(0.5) * np.array([[1, 1], [-1, 1]])
  actor, device, *_ = _make(to_policy_frame=lambda action: turn @ action)
  _push(device, x=0.5, y=0.5)
  np.testing.assert_allclose(
    actor.select_action(None)[:2], (np.sqrt(0.5), 0.0), atol=1e-6
  )
  _push(device, x=1.0, y=1.0)
  action = actor.select_action(None)
  _SPEC.validate(action)
  np.testing.assert_allclose(action[:2], (1.0, 0.0), atol=1e-6)


def test_an_unplugged_device_is_a_fault_until_it_is_back():
  device, opened = _Device(), []

  def open_device():
    opened.append(None)
    if device.gone:
      raise devices.DeviceError('there is none')
    return device

  actor = intervention.InterventionActor(_Policy(), open_device, _SPEC)
  device.gone = True
  with pytest.raises(core.FaultError, match='unplugged'):
    actor.select_action(None)
  assert device.closed
  environment = fakes.FakeEnvironment(fakes.make_state_spec())
  with pytest.raises(core.FaultError, match='there is none'):
    actor.prepare()
  with pytest.raises(core.FaultError, match='there is none'):
    actor.observe_first(environment.reset())
  device.gone = False
  actor.prepare()
  actor.observe_first(environment.reset())
  np.testing.assert_array_equal(actor.select_action(None), _POLICY)
  assert len(opened) == 4


def test_it_lets_go_of_the_device():
  actor, device, *_ = _make()
  actor.close()
  assert device.closed
  actor.close()


def test_without_a_device_there_is_no_actor():
  def open_device():
    raise devices.DeviceError('there is none')

  with pytest.raises(devices.DeviceError):
    intervention.InterventionActor(_Policy(), open_device, _SPEC)


class _Arm(fakes.FakeEnvironment):
  """Takes six numbers, and has a person act at the steps 1 and 2 of 4."""

  def __init__(self, device, time):
    spec = fakes.make_state_spec()._replace(actions=_SPEC)
    super().__init__(spec, episode_length=4)
    self._device, self._time, self._at = device, time, 0

  def step(self, action):
    self._at += 1
    self._time.now += 1.0
    _push(self._device, z=1.0 if self._at in (1, 2) else 0.0)
    return super().step(action)


def test_what_is_stored_is_what_was_executed_and_who_did_it():
  device, time, episodes = _Device(), _Time(), []
  environment = _Arm(device, time)

  class Storing(_Policy):
    def observe_first(self, timestep):
      adder.add_first(timestep)

    def observe(self, action, next_timestep):
      adder.add(action, next_timestep)

  actor = intervention.InterventionActor(
    Storing(), lambda: device, _SPEC, now=time
  )
  adder = adders.EpisodeAdder([episodes.append], [actor.step_extras])
  metrics = environment_loop.EnvironmentLoop(environment, actor).run_episode()

  up = np.float32((0, 0, 1, 0, 0, 0))
  np.testing.assert_array_equal(
    episodes[0].action, np.stack([_POLICY, up, up, _POLICY])
  )
  np.testing.assert_array_equal(
    episodes[0].extras['intervened'], np.uint8((0, 1, 1, 0))
  )
  assert metrics['interventions'] == 1
  assert metrics['intervened'] == 0.5
