#!/usr/bin/python3
"""Stands in for franka_control with one controller, over a simulated arm.

`arm.py {impedance,joint} LOAD_GRIPPER`. Speaks the real topics. A test makes it
fail by parameters below /stand_in:
  reflex: true puts it into a reflex, until it is recovered;
  silent_jacobian: true withholds the Jacobian;
  stopped: true has its stop button pressed;
  zeros: true makes the state one of zeros, as a recovery does;
  stuck: true keeps the joints and the tool where they are;
  wrench: 6 numbers, the external force and torque.
It tells its process in /stand_in/pid and the pose that it was sent in
/stand_in/target, and keeps its joints in /stand_in/joints and its pose in
/stand_in/pose for the controller that comes next.
"""

import os
import signal
import sys
import types

from dynamic_reconfigure.server import Server
from franka_gripper.msg import GraspActionGoal
from franka_gripper.msg import MoveActionGoal
from franka_msgs.msg import ErrorRecoveryActionGoal
from franka_msgs.msg import FrankaState
from geometry_msgs.msg import PoseStamped
import rospy
from sensor_msgs.msg import JointState
from serl_franka_controllers.msg import ZeroJacobian

MOVING, REFLEX, USER_STOPPED = 2, 4, 5
RATE = 100.0
JOINT_STEP = 0.05  # rad, in a cycle
PARAMETERS = {
  'translational_stiffness': (2000.0, 6000.0),
  'translational_damping': (89.0, 400.0),
  'rotational_stiffness': (150.0, 300.0),
  'rotational_damping': (7.0, 30.0),
  'translational_Ki': (0.0, 100.0),
  'rotational_Ki': (0.0, 100.0),
}
PARAMETERS.update(
  {
    f'{kind}_clip_{side}{axis}': (default, 0.1)
    for kind, default in (('translational', 0.01), ('rotational', 0.05))
    for side in ('', 'neg_')
    for axis in 'xyz'
  }
)


def rotation_matrix(quaternion):
  """Of a unit quaternion xyzw, row by row."""
  x, y, z, w = quaternion
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
  ]


def serve_compliance():
  """Offers the parameters by dynamic_reconfigure, without a compiled .cfg."""
  entry = {
    'type': 'double',
    'level': 0,
    'description': '',
    'edit_method': '',
    'min': 0.0,
    'srcline': 0,
    'srcfile': '',
    'ctype': 'double',
    'cconsttype': 'const double',
  }
  group = {
    'name': 'Default',
    'type': '',
    'state': True,
    'cstate': 'true',
    'id': 0,
    'parent': 0,
    'parentclass': '',
    'parentname': 'Default',
    'upper': 'DEFAULT',
    'lower': 'groups',
    'class': 'DEFAULT',
    'field': 'default',
    'srcline': 0,
    'srcfile': '',
    'groups': [],
    'parameters': [
      dict(entry, name=name, default=default, max=high)
      for name, (default, high) in PARAMETERS.items()
    ],
  }
  Server(
    types.SimpleNamespace(
      config_description=group,
      min={name: 0.0 for name in PARAMETERS},
      max={name: high for name, (_, high) in PARAMETERS.items()},
      defaults={name: default for name, (default, _) in PARAMETERS.items()},
      level={name: 0 for name in PARAMETERS},
      type={name: 'double' for name in PARAMETERS},
      all_level=0,
    ),
    lambda config, level: config,
  )


class Arm:
  """The simulated arm and its topics."""

  def __init__(self, controller, load_gripper):
    self.controller = controller
    self.position = rospy.get_param('/stand_in/pose', [0.5, 0.0, 0.3])
    self.orientation = [1.0, 0.0, 0.0, 0.0]
    self.target = list(self.position)
    self.joints = rospy.get_param('/stand_in/joints', [0.1] * 7)
    self.mode = MOVING
    self.width = 0.08
    self.states = rospy.Publisher(
      'franka_state_controller/franka_states',
      FrankaState,
      queue_size=1,
      tcp_nodelay=True,
    )
    rospy.Subscriber(
      '/franka_control/error_recovery/goal',
      ErrorRecoveryActionGoal,
      self.recover,
    )
    if controller == 'impedance':
      self.jacobians = rospy.Publisher(
        '/cartesian_impedance_controller/franka_jacobian',
        ZeroJacobian,
        queue_size=1,
        tcp_nodelay=True,
      )
      rospy.Subscriber(
        '/cartesian_impedance_controller/equilibrium_pose',
        PoseStamped,
        self.command,
        tcp_nodelay=True,
      )
      serve_compliance()
    self.hand = None
    if load_gripper:
      self.hand = rospy.Publisher(
        '/franka_gripper/joint_states', JointState, queue_size=1
      )
      rospy.Subscriber(
        '/franka_gripper/move/goal', MoveActionGoal, self.move_hand
      )
      rospy.Subscriber(
        '/franka_gripper/grasp/goal', GraspActionGoal, self.move_hand
      )

  def save(self):
    """Keeps what this controller moves for the next one."""
    if self.controller == 'impedance':
      rospy.set_param('/stand_in/pose', self.position)
      rospy.set_param('/stand_in/target', self.target)
    else:
      rospy.set_param('/stand_in/joints', self.joints)

  def recover(self, message):
    rospy.set_param('/stand_in/reflex', False)
    rospy.set_param(
      '/stand_in/recoveries', rospy.get_param('/stand_in/recoveries', 0) + 1
    )

  def command(self, message):
    position, orientation = message.pose.position, message.pose.orientation
    self.target = [position.x, position.y, position.z]
    self.orientation = [
      orientation.x,
      orientation.y,
      orientation.z,
      orientation.w,
    ]

  def move_hand(self, message):
    self.width = min(message.goal.width, 0.08)

  def advance(self, faults):
    self.mode = REFLEX if faults.get('reflex') else MOVING
    if faults.get('stopped'):
      self.mode = USER_STOPPED
    if self.mode != MOVING or faults.get('stuck'):
      return
    if self.controller == 'impedance':
      self.position = [
        x + 0.2 * (target - x) for x, target in zip(self.position, self.target)
      ]
    else:
      target = rospy.get_param('/target_joint_positions')
      self.joints = [
        q + max(-JOINT_STEP, min(JOINT_STEP, goal - q))
        for q, goal in zip(self.joints, target)
      ]

  def publish(self, faults):
    message = FrankaState()
    message.header.stamp = rospy.Time.now()
    rotation = rotation_matrix(self.orientation)
    message.O_T_EE = [
      value
      for column in range(3)
      for value in (*(rotation[row][column] for row in range(3)), 0.0)
    ] + [*self.position, 1.0]
    if faults.get('zeros'):
      message.O_T_EE = [0.0] * 16
    message.q = self.joints
    message.dq = [0.1 * i for i in range(7)]
    message.K_F_ext_hat_K = faults.get('wrench', [0.0] * 6)
    message.robot_mode = self.mode
    message.current_errors.cartesian_reflex = self.mode == REFLEX
    self.states.publish(message)
    if self.controller == 'impedance' and not faults.get('silent_jacobian'):
      # Column by column: its rows are 0 to 6, 10 to 16, ..., 50 to 56.
      self.jacobians.publish(
        ZeroJacobian([10.0 * row + col for col in range(7) for row in range(6)])
      )
    if self.hand is not None:
      self.hand.publish(JointState(position=[self.width / 2] * 2))


def main():
  controller, load_gripper = sys.argv[1], sys.argv[2] == 'true'
  # rospy's own handler can meet the lock of a publisher that it interrupts.
  ended = []
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: ended.append(True))
  rospy.init_node('arm', disable_signals=True)
  arm = Arm(controller, load_gripper)
  rospy.set_param('/stand_in/pid', os.getpid())
  rate = rospy.Rate(RATE)
  cycle, faults = 0, {}
  while not ended:
    if cycle % 5 == 0:
      faults = rospy.get_param('/stand_in', {})
      arm.save()
    cycle += 1
    arm.advance(faults)
    arm.publish(faults)
    rate.sleep()
  arm.save()
  rospy.signal_shutdown('told to end')


if __name__ == '__main__':
  main()
