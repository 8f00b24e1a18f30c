"""What moves the scripted experts on the arm."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy.spatial import transform

from serl import core
from serl.teleop import expert

Frame = Callable[[np.ndarray], np.ndarray]


class Task(Protocol):
  """What is asked of the arm."""

  # m that an action of 1 moves the tool, rad that it turns it, and the gripper.
  action_scale: tuple[float, float, float]


class Scene(Protocol):
  """Knows where the tool is."""

  task: Task

  @property
  def tool_pose(self) -> np.ndarray:
    """The tool's pose, [7], xyz and quaternion xyzw, m, base frame."""


class TargetScene(Scene, Protocol):
  """Knows where the tool belongs, too."""

  @property
  def target(self) -> np.ndarray:
    """The tool's pose where the task is done, [7]."""


class HasScene(Protocol):
  """An environment on the twin."""

  scene: Scene


class ArmExpert(expert.Expert):
  """An expert on the twin: it asks the scene, observations do not tell all.

  Scene and frame are asked for at each step: they may change meanwhile.
  """

  def __init__(self, noise: float, seed: int, environment: HasScene | None):
    """Initialises the expert.

    Args:
      noise: standard deviation of the Gaussian noise that is added to an
        action's motion.
      seed: of what it draws.
      environment: the one that is acted in. Where it acts in the tool's frame,
        it is asked for the way there, `to_tool_frame`.

    Raises:
      ValueError: if the noise is negative or there is no such environment.
    """
    super().__init__(noise, seed)
    if not isinstance(environment, core.HasScene):
      raise ValueError(
        f'environment={environment}; expected the one that is acted in, on the '
        'twin, to ask its scene what is where.'
      )
    self._environment = environment

  @property
  def scene(self) -> Scene:
    """The scene of the present task."""
    return self._environment.scene

  def _to_policy_frame(self, action: np.ndarray) -> np.ndarray:
    if isinstance(self._environment, core.HasToolFrame):
      return self._environment.to_tool_frame(action)
    return np.asarray(action)

  def move(
    self, away: np.ndarray, turn: np.ndarray, gripper: Sequence[float] = ()
  ) -> np.ndarray:
    """Returns the action of a motion with noise, see `make_action`."""
    return make_action(
      away,
      turn,
      self.scene.task.action_scale,
      self._noise * self._rng.standard_normal(6),
      gripper,
      self._to_policy_frame,
    )


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
