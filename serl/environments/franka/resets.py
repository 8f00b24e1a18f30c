"""The way of the arm to where an episode begins."""

import dataclasses

from absl import logging
import numpy as np

from serl.environments.franka import config as config_lib
from serl.environments.franka import poses
from serl.environments.franka import robot as robot_lib

# How long the arm gets to recover from an error, and how often it is asked, s.
_RECOVERY_S = 3.0
_RECOVERY_POLL_S = 0.1
# The longest that a move may take beyond its time until the tool is there, s.
_ARRIVAL_S = 1.5


def move_to_start(
  config: config_lib.Config,
  robot: robot_lib.Robot,
  clock: robot_lib.Clock,
  start: np.ndarray,
  resets_joints: bool,
) -> None:
  """Moves the arm to where an episode begins; returns when it is there.

  It recovers an arm that stopped itself, makes it stiff and exact, lifts it,
  resets the joints where that is asked, moves it and gives it the compliance
  that the policy acts with.

  Args:
    config: of the task.
    robot: the arm.
    clock: to wait by.
    start: [7], the pose to go to.
    resets_joints: whether the joints are reset on the way.

  Raises:
    RobotError: it does not get there.
  """
  _recover(robot, clock)
  robot.set_compliance(dataclasses.asdict(config.precision))
  _sleep(clock, config.settle_seconds)
  if config.lift:
    above = _pose(config, robot, clock)
    above[2] += config.lift
    _move(config, robot, clock, above, config.lift_seconds)
  if config.opens_at_reset:
    robot.open_gripper()
    _sleep(clock, config.gripper_seconds)
  if resets_joints:
    logging.info('Resetting the joints.')
    robot.reset_joints()
  _move(config, robot, clock, start, config.move_seconds)
  _arrive(config, robot, clock, start)
  robot.set_compliance(dataclasses.asdict(config.compliance))
  robot.clear_errors()


def _recover(robot: robot_lib.Robot, clock: robot_lib.Clock) -> None:
  """Returns when the arm can obey.

  Raises:
    RobotError: it cannot in the time that it is given.
  """
  deadline = clock.now() + _RECOVERY_S
  while True:
    try:
      robot.read_state()
      return
    except robot_lib.RobotError as error:
      if clock.now() >= deadline:
        raise
      logging.warning('Recovering the arm: %s', error)
    robot.recover()
    _sleep(clock, _RECOVERY_POLL_S)


def _move(
  config: config_lib.Config,
  robot: robot_lib.Robot,
  clock: robot_lib.Clock,
  goal: np.ndarray,
  seconds: float,
) -> None:
  """Leads the tool to `goal`, [7], on the straight way."""
  steps = max(1, round(seconds * config.control_rate))
  for pose in poses.path(_pose(config, robot, clock), goal, steps):
    robot.command_pose(pose)
    _sleep(clock, 1 / config.control_rate)


def _arrive(
  config: config_lib.Config,
  robot: robot_lib.Robot,
  clock: robot_lib.Clock,
  goal: np.ndarray,
) -> None:
  """Returns when the tool is at `goal`, [7].

  Raises:
    RobotError: it does not get there.
  """
  deadline = clock.now() + _ARRIVAL_S
  while True:
    away = np.linalg.norm((_pose(config, robot, clock) - goal)[:3])
    if away <= config.reset_tolerance:
      return
    if clock.now() >= deadline:
      raise robot_lib.RobotError(
        f'The tool is {away:.3f} m away from the pose that an episode begins '
        f'in, {goal[:3]}; expected {config.reset_tolerance} m. Is something in '
        "its way, or is that pose outside of the server's limits?"
      )
    robot.command_pose(goal)
    _sleep(clock, 1 / config.control_rate)


def _pose(
  config: config_lib.Config, robot: robot_lib.Robot, clock: robot_lib.Clock
) -> np.ndarray:
  """Returns a copy of the tool's pose, [7]."""
  return robot_lib.read_fresh(robot, clock, config.max_state_age).pose.copy()


def _sleep(clock: robot_lib.Clock, seconds: float) -> None:
  clock.sleep_until(clock.now() + seconds)
