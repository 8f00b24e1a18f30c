import dataclasses
import types

import numpy as np
import pytest

from robot_server import app as app_lib
from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import ros_driver
from robot_server import states
from robot_server import testing

HERE = [0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
WRONG = [
  {'pose': np.zeros(7)},
  {'pose': np.full(7, np.nan)},
  {'pose': np.array([0.5, 0, 0.3, 0, 0, 0, 0])},
  {'pose': np.array([0.5, 0, 0.3, 0.5, 0.5, 0, 0])},
  {'pose': np.array([0.5, 0, 0.3, 1e200, 0, 0, 0])},
  {'pose': np.array([500.0, 0, 0.3, 1, 0, 0, 0])},
  {'pose': np.array([0.5, 0, -np.inf, 1, 0, 0, 0])},
  {'pose': np.array([0.5, 0, 0.3])},
  {'force': np.array([0, 0, np.nan])},
  {'torque': np.array([0, np.inf, 0])},
  {'force': np.array([0, 0, 1e30])},
  {'vel': np.full(6, np.nan)},
  {'q': np.full(7, 1e3)},
  {'q': np.full(7, np.nan)},
  {'dq': np.full(7, np.inf)},
  {'jacobian': np.zeros((6, 7))},
  {'jacobian': np.full((6, 7), np.nan)},
  {'gripper_pos': np.nan},
  {'time': np.nan},
  {'mode': 'dancing'},
]
ARM = ('pose', 'force', 'torque', 'time', 'mode')


@pytest.mark.parametrize('wrong', WRONG)
def test_a_state_that_no_arm_has_is_an_error_of_the_driver(wrong):
  driver = testing.KinematicDriver()
  state = dataclasses.replace(driver.read_state(), **wrong)
  with pytest.raises(protocol.BadStateError, match=next(iter(wrong))):
    states.check_state(state)
  driver.read_state = lambda: state
  governor = governor_lib.Governor(driver, limits_lib.Limits())
  client = app_lib.make_app(driver, governor).test_client()
  for path, body in (
    ('/getstate', None),
    ('/getq', None),
    ('/pose', {'arr': HERE}),
    ('/step', {'arr': HERE}),
  ):
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json['kind']) == (503, 'bad_state')
  assert client.get('/health').json['state'] is None
  status = 503 if set(wrong) <= set(ARM) else 200
  for path in ('/getpos', '/getpos_euler', '/getforce', '/hold'):
    assert client.post(path).status_code == status
  assert len(driver.commands) == (status == 200)


def test_those_of_an_arm_are_none():
  driver = testing.KinematicDriver()
  states.check_state(driver.read_state())
  driver.force = np.array([0.0, 0.0, -500.0])
  for mode in protocol.MODES:
    driver.mode = mode
    states.check_state(driver.read_state())


def message(**changes):
  """Returns what stands for a FrankaState, with the pose of an arm at rest."""
  matrix = np.diag([1.0, -1.0, -1.0, 1.0])
  matrix[:3, 3] = HERE[:3]
  errors = types.SimpleNamespace(__slots__=('cartesian_reflex',))
  errors.cartesian_reflex = False
  fields = {
    'O_T_EE': tuple(matrix.T.ravel()),
    'K_F_ext_hat_K': (0.0,) * 6,
    'robot_mode': 2,
    'current_errors': errors,
  }
  return types.SimpleNamespace(**{**fields, **changes})


def transformed(rotation, last=(0, 0, 0, 1)):
  matrix = np.eye(4)
  matrix[:3, :3] = rotation
  matrix[3] = last
  return tuple(matrix.T.ravel())


def read(**changes):
  return ros_driver._read(ros_driver._Arrived(message(**changes), 1.0))


def test_a_message_of_the_arm_is_read():
  reading = read()
  np.testing.assert_allclose(reading.pose[:3], HERE[:3])
  np.testing.assert_allclose(np.abs(reading.pose[3:]), [1, 0, 0, 0])
  assert reading.mode == 'moving'


@pytest.mark.parametrize(
  'wrong',
  [
    {'O_T_EE': (0.0,) * 16},
    {'O_T_EE': (np.nan,) * 16},
    {'O_T_EE': (np.inf,) * 16},
    {'O_T_EE': (1e200,) * 16},
    {'O_T_EE': transformed(np.zeros((3, 3)))},
    {'O_T_EE': transformed(np.ones((3, 3)))},
    {'O_T_EE': transformed(1.1 * np.eye(3))},
    {'O_T_EE': transformed(np.diag([1.0, 1.0, -1.0]))},  # a mirror
    {'O_T_EE': transformed(np.eye(3) + 0.1 * np.eye(3, k=1))},  # sheared
    {'O_T_EE': transformed(np.eye(3), last=(0, 0, 0, 0))},
    {'robot_mode': 7},
    {'robot_mode': -1},
    {'robot_mode': 255},
  ],
)
def test_a_message_that_no_arm_sends_is_an_error_of_the_driver(wrong):
  with pytest.raises(protocol.BadStateError, match='the arm reports'):
    read(**wrong)
