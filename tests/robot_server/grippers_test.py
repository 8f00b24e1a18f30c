"""The grippers behind ROS are tested with the driver, in ros_driver_test.py."""

import pytest

from robot_server import grippers


def test_the_null_gripper_takes_everything():
  gripper = grippers.make('none')
  gripper.activate()
  gripper.reset()
  gripper.open()
  gripper.close()
  gripper.move(255)
  gripper.shut_down()
  assert gripper.position == 0


@pytest.mark.parametrize(
  'arguments, reason',
  [(('hand',), "'hand'"), (('robotiq',), '--gripper-ip')],
)
def test_refusals(arguments, reason):
  with pytest.raises(ValueError, match=reason):
    grippers.make(*arguments)
