"""Motions of the scripted experts on the arm."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy.spatial import transform

Frame = Callable[[np.ndarray], np.ndarray]


class Task(Protocol):
  """What is asked of the arm."""

  # m that an action of 1 moves the tool, rad that it turns it, and the gripper.
  action_scale: tuple[float, float, float]


class Scene(Protocol):
  """Knows where the tool is and where it belongs."""

  task: Task

  @property
  def tool_pose(self) -> np.ndarray:
    """The tool's pose, [7], xyz and quaternion xyzw, m, base frame."""

  @property
  def target(self) -> np.ndarray:
    """The same where the task is done."""


def turn_to(pose: np.ndarray, goal: transform.Rotation) -> np.ndarray:
  """Returns the rotation vector, [3] rad, from a pose, [7], to `goal`."""
  return (goal * transform.Rotation.from_quat(pose[3:]).inv()).as_rotvec()


def make_action(
  away: np.ndarray,
  turn: np.ndarray,
  action_scale: Sequence[float],
  noise: np.ndarray,
  gripper: Sequence[float] = (),
  to_policy_frame: Frame = np.asarray,
) -> np.ndarray:
  """Returns the action that moves a tool, float32 in [-1, 1].

  What is too far for one step keeps its direction.

  Args:
    away: [3], m, how far to move, base frame.
    turn: [3], rad, how far to turn, a rotation vector.
    action_scale: m and rad that an action of 1 moves and turns.
    noise: [6], that is added.
    gripper: its action, if there is one.
    to_policy_frame: takes an action in the base frame to the policy's.
  """
  translation, rotation, *_ = action_scale
  motion = np.append(away / translation, turn / rotation) + noise
  # Within the bounds in whatever frame.
  for part in (motion[:3], motion[3:]):
    part /= max(1.0, np.linalg.norm(part))
  action = to_policy_frame(np.append(motion, gripper))
  return np.clip(action, -1.0, 1.0).astype(np.float32)
