#!/usr/bin/python3
"""Stands in for the driver of a Robotiq gripper and for the gripper.

Keeps in /stand_in/outputs how often it was reset and activated.
"""

import signal

from robotiq_2f_gripper_control.msg import Robotiq2FGripper_robot_input
from robotiq_2f_gripper_control.msg import Robotiq2FGripper_robot_output
import rospy

RATE = 100.0
STEP = 25  # of the fingers, in a cycle


def main():
  # rospy's own handler can meet the lock of a publisher that it interrupts.
  ended = []
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: ended.append(True))
  rospy.init_node('robotiq2FGripper', disable_signals=True)
  gripper = Robotiq2FGripper_robot_input()
  counts = {'reset': 0, 'activate': 0}

  def command(message):
    if not message.rACT:
      counts['reset'] += 1
    elif not gripper.gACT:
      counts['activate'] += 1
    rospy.set_param('/stand_in/outputs', counts)
    gripper.gACT = message.rACT
    if message.rACT and message.rGTO:
      gripper.gPR = message.rPR

  publisher = rospy.Publisher(
    'Robotiq2FGripperRobotInput', Robotiq2FGripper_robot_input, queue_size=1
  )
  rospy.Subscriber(
    'Robotiq2FGripperRobotOutput', Robotiq2FGripper_robot_output, command
  )
  rate = rospy.Rate(RATE)
  while not ended:
    way = gripper.gPR - gripper.gPO
    gripper.gPO += max(-STEP, min(STEP, way))
    publisher.publish(gripper)
    rate.sleep()
  rospy.signal_shutdown('told to end')


if __name__ == '__main__':
  main()
