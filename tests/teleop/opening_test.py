"""Devices by name."""

import os
import pickle
import sys
import termios

import numpy as np
import pytest

from serl import core
from serl.teleop import devices
from serl.teleop import gamepad
from serl.teleop import intervention
from serl.teleop import keyboard
from serl.teleop import opening
from serl.testing import fakes
from tests.teleop import gamepad_stand_in


def test_the_keyboard_is_that_of_the_terminal(monkeypatch):
  typed, read = os.openpty()
  with open(read, encoding='utf-8') as stream:
    monkeypatch.setattr(sys, 'stdin', stream)
    keys = opening.open_device('keyboard')
    assert isinstance(keys, keyboard.Keyboard)
    os.write(typed, b'w')
    assert keys.read().motion[0] == 1.0
    keys.close()
    assert termios.tcgetattr(read)[3] & termios.ICANON
  os.close(typed)


def test_without_its_libraries_the_mouse_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'pyspacemouse', None)
  monkeypatch.delitem(sys.modules, 'serl.teleop.spacemouse', raising=False)
  monkeypatch.delattr('serl.teleop.spacemouse', raising=False)
  with pytest.raises(devices.DeviceError, match='pip install'):
    opening.open_device('spacemouse')


def test_an_unknown_name_lists_the_known():
  with pytest.raises(ValueError, match="'mouse'; expected one of keyboard"):
    opening.open_device('mouse')


def test_actions_that_cannot_be_driven_are_refused():
  environment = fakes.FakeEnvironment(fakes.make_state_spec())
  with pytest.raises(ValueError, match='which is what devices can drive'):
    opening.intervene(None, environment, lambda: None)


def test_a_person_drives_as_the_environment_has_it():
  class Arm(fakes.FakeEnvironment):
    def to_tool_frame(self, action):
      return -action

  class Pushed:
    def read(self):
      return devices.Command(np.float32([1, 0, 0, 0, 0, 0]), 0)

  spec = fakes.make_state_spec()
  spec = spec._replace(
    actions=spec.actions.replace(shape=(3,), minimum=-1.0, maximum=1.0)
  )
  actor = opening.intervene(fakes.FakeActor(spec), Arm(spec), Pushed, 0.5)
  assert isinstance(actor, intervention.InterventionActor)
  assert actor.select_action(None).tolist() == [-0.5, 0, 0]


def test_a_person_takes_over_by_a_gamepad_that_comes_and_goes(
  monkeypatch, tmp_path
):
  spec = fakes.make_state_spec()
  spec = spec._replace(
    actions=spec.actions.replace(shape=(3,), minimum=-1.0, maximum=1.0)
  )
  environment = fakes.FakeEnvironment(spec)
  policy = fakes.FakeActor(spec)
  pad = gamepad_stand_in.Pad(tmp_path / 'js0')
  monkeypatch.setenv(gamepad.PATH_VARIABLE, str(pad.path))
  shared = opening.share('gamepad')
  with pytest.raises(devices.DeviceError, match='Cannot open a gamepad'):
    opening.intervene(policy, environment, shared)
  pad.plug_in()
  actor = opening.intervene(policy, environment, shared, scale=0.5)
  actor.observe_first(environment.reset())
  actor.select_action(None)
  assert actor.step_extras() == {intervention.TAG: 0}

  pad.move(gamepad_stand_in.LEFT_X, 1.0)
  gamepad_stand_in.wait_for(
    lambda: actor.select_action(None).tolist() == [0, 0.5, 0]
  )
  assert actor.step_extras() == {intervention.TAG: 1}

  # Clicks count until they are read, but for no later episode.
  pad.move(gamepad_stand_in.LEFT_X, 0.0)
  for down in (True, False):
    pad.press(gamepad_stand_in.A, down)
  pad.press(gamepad_stand_in.Y)
  gamepad_stand_in.wait_for(shared.device.is_marked)
  actor.observe_first(environment.reset())
  assert not shared.read().moves

  pad.unplug()
  with pytest.raises(core.FaultError, match='gamepad is gone'):
    gamepad_stand_in.wait_for(lambda: actor.select_action(None) is None)
  with pytest.raises(core.FaultError, match='Cannot open a gamepad'):
    actor.observe_first(environment.reset())
  pad.plug_in()
  actor.observe_first(environment.reset())
  actor.select_action(None)
  assert actor.step_extras() == {intervention.TAG: 0}
  actor.close()
  pad.unplug()


class _Device:
  """Counts how often it is opened."""

  opened = 0

  def __init__(self):
    type(self).opened += 1

  def read(self):
    return 'a command'

  def close(self):
    pass


def test_a_shared_device_is_opened_once_until_somebody_closes_it():
  shared = opening.Shared(_Device)
  one, other = shared(), shared()
  assert _Device.opened == 1
  assert one.read() == other.read() == 'a command'
  one.close()
  with pytest.raises(devices.DeviceError, match='was closed'):
    other.read()
  other.close()
  assert shared().read() == 'a command'
  assert _Device.opened == 2


def test_two_runs_of_a_process_share_a_device_there_too():
  pair = opening.share('keyboard'), opening.share('keyboard')
  assert pair[0] is pair[1]
  one, other = pickle.loads(pickle.dumps(pair))
  assert one is other
