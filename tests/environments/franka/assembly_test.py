"""Tests for assembly."""

import dataclasses

import numpy as np
import pytest

from robot_server import limits
from robot_server import testing
from serl import core
from serl import specs
from serl.environments.franka import assembly
from serl.environments.franka import cameras
from serl.environments.franka import config as config_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.franka import tasks
from serl.environments.franka.tasks import peg_insert
from serl.teleop import devices
from serl.teleop import intervention
from serl.testing import fakes


def test_the_peg_task_has_six_actions_and_a_pose_of_six(make):
  environment = assembly.wrap(make(), peg_insert.STATE)
  assert environment.action_spec().shape == (6,)
  timestep = environment.reset()
  np.testing.assert_allclose(
    timestep.observation['tcp_pose'], np.zeros(6), atol=1e-6
  )
  environment.observation_spec()['tcp_pose'].validate(
    timestep.observation['tcp_pose']
  )
  environment.step(np.zeros(6, np.float32))
  assert environment.step_extras()['late'] == 0


def test_an_arm_runs_in_real_time_as_the_policy_sees_it(make):
  environment = assembly.wrap(make(), peg_insert.STATE)
  assert isinstance(environment, core.HasRealTime) and environment.real_time


def test_the_tools_x_is_the_bases_where_it_points_down(make, driver):
  config = dataclasses.replace(peg_insert.STATE, lever=False)
  environment = assembly.wrap(make(), config)
  environment.reset()
  before = driver.read_state().pose
  environment.step(np.array((1, 0, 1, 0, 0, 0), np.float32))
  np.testing.assert_allclose(
    (driver.commands[-1] - before)[:3], (0.02, 0.0, -0.02), atol=1e-4
  )


class _Pushed:
  """A device that is pushed along the base's x."""

  def read(self):
    return devices.Command(np.float32((1, 0, 0, 0, 0, 0)), 0)


@pytest.mark.parametrize('lever', [True, False])
def test_a_person_moves_the_arm_along_the_bases_axes(make, driver, lever):
  # Seen from the tool it is another action: that one is stored.
  config = dataclasses.replace(peg_insert.STATE, lever=lever)
  environment = assembly.wrap(
    make(reset=(0.5, 0.0, 0.3, 3.14, 0.0, 0.5)), config
  )
  actor = intervention.InterventionActor(
    fakes.FakeActor(fakes.make_state_spec()),
    _Pushed,
    environment.action_spec(),
    to_policy_frame=environment.to_tool_frame,
  )
  timestep = environment.reset()
  before = driver.read_state().pose
  action = actor.select_action(timestep.observation)
  environment.step(action)
  np.testing.assert_allclose(
    driver.commands[-1] - before, (0.02, 0, 0, 0, 0, 0, 0), atol=1e-4
  )
  assert abs(action[1]) > 0.4


def _with_gripper(gripper_range):
  return dataclasses.replace(
    peg_insert.STATE,
    uses_gripper=True,
    gripper_penalty=0.1,
    gripper_range=gripper_range,
  )


_CLOSE = np.array((0, 0, 0, 0, 0, 0, -1), np.float32)


def test_switching_the_gripper_costs_where_it_is_used(make):
  environment = assembly.wrap(make(), _with_gripper((0.0, 255.0)))
  assert environment.action_spec().shape == (7,)
  environment.reset()
  assert float(environment.step(_CLOSE).reward) == pytest.approx(-0.1)
  assert environment.step(_CLOSE).reward == 0.0


def test_of_franka_s_hand_the_smaller_reading_is_closed(make):
  environment = assembly.wrap(make(), _with_gripper((0.08, 0.0)))
  environment.reset()  # the gripper reads 0
  assert environment.step(_CLOSE).reward == 0.0


@pytest.mark.parametrize('config', list(tasks.TASKS.values()))
def test_the_spec_needs_no_arm_and_no_camera(make, config):
  cameras = {camera.name: _Camera() for camera in config.cameras}
  fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
  environment = assembly.wrap(make(cameras, **fields), config)
  expected = specs.make_environment_spec(environment)
  found = assembly.make_spec(config)
  for ours, theirs in zip(found[:2], expected[:2]):
    assert specs.to_dict(ours) == specs.to_dict(theirs)
  assert len(cameras) == len(
    [x for x in found.observations.values() if specs.is_image(x)]
  )


def test_the_arm_tells_which_sign_closes_its_gripper(make, driver):
  environment = assembly.wrap(make(), _with_gripper((0.0, 255.0)))
  environment.reset()

  class Closing:
    def read(self):
      return devices.Command(np.zeros(6, np.float32), 1)

  actor = devices.DeviceActor(Closing, **devices.conventions(environment))
  environment.step(actor.select_action(None))
  assert driver.gripper.position == 255


_QUICK = dataclasses.replace(
  peg_insert.STATE,
  lift=0.0,
  settle_seconds=0.0,
  move_seconds=0.3,
  reset=(0.5, 0.0, 0.3, 3.14, 0.0, 0.0),
  random_xy=0.0,
)


@pytest.mark.parametrize('allowed', [True, False])
def test_it_is_made_over_the_server(monkeypatch, caplog, allowed):
  monkeypatch.setattr(robot_lib, 'take_precedence', lambda: allowed)
  # A busy machine may let a request wait for its thread.
  patient = limits.Limits(command_ttl=60.0)
  with testing.serving(
    testing.KinematicDriver(), patient, token='of some length'
  ) as url:
    environment = assembly.make(
      dataclasses.replace(_QUICK, url=url), token='of some length'
    )
    assert environment.reset().first()
    environment.close()
  assert ('precedence' in caplog.text) == (not allowed)


def test_each_of_several_holds_the_arm_when_it_is_closed(monkeypatch, caplog):
  # Else the tests' own thread would go first from here on.
  monkeypatch.setattr(robot_lib, 'take_precedence', lambda: True)
  driver, patient = testing.KinematicDriver(), limits.Limits(command_ttl=60.0)
  with testing.serving(driver, patient) as url:
    config = dataclasses.replace(_QUICK, url=url)
    made = assembly.make_several({'there': config, 'back': config})
    assert all(environment.reset().first() for environment in made.values())
    for environment in made.values():
      before = len(driver.commands)
      environment.close()
      assert len(driver.commands) == before + 1
  assert 'told to stay' not in caplog.text


def test_several_share_the_server_and_the_cameras():
  elsewhere = dataclasses.replace(_QUICK, url='http://127.0.0.1:9/')
  with pytest.raises(ValueError, match="task 'back' has the server"):
    assembly.make_several({'there': _QUICK, 'back': elsewhere})


class _Camera:
  def __init__(self):
    self.closed = False

  def close(self):
    self.closed = True


def test_the_cameras_are_all_opened_or_none(monkeypatch):
  opened = []

  def open_camera(config, size):
    if config.name == 'wrist_2':
      raise cameras.CameraError('there is none')
    opened.append(_Camera())
    return opened[-1]

  monkeypatch.setattr(assembly, 'open_camera', open_camera)
  with pytest.raises(cameras.CameraError):
    assembly.open_cameras(peg_insert.VISION)
  assert [camera.closed for camera in opened] == [True]


def test_the_cameras_are_closed_where_the_rest_is_not_made(monkeypatch):
  camera = _Camera()
  monkeypatch.setattr(robot_lib, 'take_precedence', lambda: True)
  monkeypatch.setattr(assembly, 'open_camera', lambda *_: camera)
  one = dataclasses.replace(
    peg_insert.STATE, cameras=(config_lib.CameraConfig('wrist', '1'),)
  )
  with pytest.raises(ValueError, match='non-negative'):
    assembly.make(one, seed=-1)
  assert camera.closed


def test_a_video_device_is_opened_by_its_kind():
  pytest.importorskip('cv2', reason='the extra [franka] is missing')
  config = config_lib.CameraConfig('front', '/dev/video-none', kind='opencv')
  with pytest.raises(cameras.CameraError, match='video device'):
    assembly.open_camera(config, 128)
