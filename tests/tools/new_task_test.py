"""Tests for new_task."""

import dataclasses

import pytest

from robot_server import testing
from serl.environments.franka import tasks
from serl.tools import new_task

_POSE = ['0.5', '0.1', '0.2', '3.1', '0.02', '-0.3']


def test_the_file_is_a_config_around_the_pose(tmp_path):
  path = tmp_path / 'mine.py'
  new_task.main([str(path), '--pose', *_POSE, '--camera', 'wrist=0123'])
  config = tasks.load(path)
  assert config.target == (0.5, 0.1, 0.2, 3.1, 0.02, -0.3)
  assert config.reset == pytest.approx((0.5, 0.1, 0.3, 3.1, 0.02, -0.3))
  assert config.pose_low[:3] == pytest.approx((0.45, 0.05, 0.2))
  assert config.cameras[0].name == 'wrist'
  assert config.cameras[0].serial == '0123'
  assert config.threshold is not None and not config.uses_gripper


def test_a_task_with_gripper_and_classifier(tmp_path):
  path = tmp_path / 'mine.py'
  new_task.main([str(path), '--pose', *_POSE, '--gripper', '--classifier'])
  config = tasks.load(path)
  assert config.uses_gripper and config.gripper_penalty == 0.1
  assert config.threshold is None
  assert config.opens_at_reset


@pytest.mark.parametrize(
  'like', [name for name in tasks.TASKS if not name.endswith('_state')]
)
def test_the_numbers_are_those_of_the_task_that_it_is_like(tmp_path, like):
  path = tmp_path / 'mine.py'
  known = tasks.TASKS[like]
  there = [str(x) for x in known.target]
  new_task.main([str(path), '--pose', *there, '--like', like])
  written = dataclasses.asdict(tasks.load(path))
  expected = dataclasses.asdict(known) | {'random_xy': 0, 'random_yaw': 0}
  for name, value in expected.items():
    if name in ('target', 'reset', 'pose_low', 'pose_high') or 'inner' in name:
      assert written[name] == (value and pytest.approx(value, abs=1e-5)), name
    else:
      assert written[name] == value, name


def test_a_camera_is_cut_as_that_of_its_name(tmp_path):
  path = tmp_path / 'mine.py'
  flags = '--like', 'bins_forward', '--camera', 'front=42', '--camera', 'top=43'
  new_task.main([str(path), '--pose', *_POSE, *flags])
  front, top = tasks.load(path).cameras
  assert (front.serial, front.for_reward) == ('42', True)
  assert (top.serial, top.for_reward, top.columns) == ('43', False, (80, 560))


def test_the_pose_may_have_a_quaternion(tmp_path):
  path = tmp_path / 'mine.py'
  new_task.main([str(path), '--pose', *_POSE[:3], *'1000'])
  assert tasks.load(path).target == (0.5, 0.1, 0.2, 3.1416, 0.0, 0.0)


def test_the_pose_is_the_arms_where_none_is_given(tmp_path):
  path = tmp_path / 'mine.py'
  token = tmp_path / 'token'
  token.write_text('of sixteen characters\n')
  driver = testing.KinematicDriver(pose=(0.4, -0.1, 0.25, 1, 0, 0, 0))
  with testing.serving(driver, token='of sixteen characters') as url:
    new_task.main([str(path), '--url', url, '--token-file', str(token)])
  config = tasks.load(path)
  assert config.target[:3] == (0.4, -0.1, 0.25)
  assert config.url == url


@pytest.mark.parametrize('mode', ['idle', 'user_stopped', 'guiding'])
def test_an_arm_that_was_led_by_hand_tells_its_pose(tmp_path, mode):
  path = tmp_path / 'mine.py'
  driver = testing.KinematicDriver(pose=(0.4, -0.1, 0.25, 1, 0, 0, 0))
  driver.mode = mode
  with testing.serving(driver) as url:
    new_task.main([str(path), '--url', url])
  assert tasks.load(path).target[:3] == (0.4, -0.1, 0.25)


def test_an_arm_that_tells_no_pose_is_refused(tmp_path, capsys):
  path = tmp_path / 'mine.py'
  driver = testing.KinematicDriver()
  driver.silent_since = driver.now() - 1.0
  with testing.serving(driver) as url, pytest.raises(SystemExit):
    new_task.main([str(path), '--url', url])
  assert 'or give --pose' in ' '.join(capsys.readouterr().err.split())
  assert not path.exists()


def test_every_line_is_a_lines_length(tmp_path):
  for like in tasks.TASKS:
    text = new_task.make_text([0.5] * 6, 'http://127.0.0.1:5000/', like)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count('#') > 10


def test_a_file_that_is_there_stays(tmp_path, capsys):
  path = tmp_path / 'mine.py'
  path.write_text('precious')
  with pytest.raises(SystemExit):
    new_task.main([str(path), '--pose', *_POSE])
  assert path.read_text() == 'precious'
  assert 'exists' in capsys.readouterr().err


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--pose', '0.5', '0.1'], 'expected 6'),
    (['--camera', 'wrist', '--pose', *_POSE], 'NAME=SERIAL'),
    (['--url', 'http://127.0.0.1:9/'], 'No answer'),
  ],
)
def test_what_makes_no_sense_is_refused(tmp_path, capsys, arguments, message):
  with pytest.raises(SystemExit):
    new_task.main([str(tmp_path / 'mine.py'), *arguments])
  assert message in capsys.readouterr().err
  assert not (tmp_path / 'mine.py').exists()
