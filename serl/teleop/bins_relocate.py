"""A scripted expert for object relocation, for demonstrations on the twin."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.spatial import transform

from serl import types
from serl.teleop import motion

# m.
_CLEAR = 0.074  # above the target pose: beyond the wall between the bins
_HOVER = 0.035  # above the target pose: the fingers pass the cube
_RISEN = 0.015  # below these, from where it may move across
_FAR = 0.08  # beside the cube
_ALIGNED = 0.008  # beside the cube, from where the fingers enclose it
_GRASP = 0.004  # from the cube's centre, near enough to close
_SLIPPED = 0.03  # from the tool: the fingers do not hold it
_THERE = 0.04  # along y from the middle of its bin, where it is lowered
_INSIDE = 0.08  # likewise, where it is in that bin
_RELEASE = 0.012  # above where it lies in the end
_LOWERING = 0.05  # below the tool
_REACHED = 0.02  # from a place that it wanders to
_WANDERING = 10  # steps, after which it goes elsewhere
_AROUND = 0.04  # standard deviation, of its places about the cube


class Task(motion.Task, Protocol):
  """What is asked, and where."""

  target: tuple[float, ...]  # [6], amid the bins
  reset: tuple[float, ...]  # [6]
  pose_low: tuple[float, ...]  # [6]
  pose_high: tuple[float, ...]  # [6]


class Scene(motion.Scene, Protocol):
  """Knows where the cube is and where it belongs, too."""

  task: Task

  @property
  def cube_position(self) -> np.ndarray:
    """The cube's centre, [3], m, base frame."""

  @property
  def goal(self) -> np.ndarray:
    """The same where it belongs."""


class HasScene(Protocol):
  """An environment on the twin."""

  scene: Scene


class BinsRelocateExpert(motion.ArmExpert):
  """Takes the cube to the other bin, over the wall between them.

  A cube that slipped away is approached anew. With the cube where it belongs,
  the tool goes back to where it came from: a classifier is shown that, too.
  """

  def __init__(
    self,
    noise: float = 0.0,
    seed: int = 0,
    environment: HasScene | None = None,
    lets_go: bool = True,
    wanders: bool = False,
  ):
    """Creates the expert.

    Args:
      noise: standard deviation of the Gaussian noise that is added to an
        action's motion.
      seed: of the noise.
      environment: the one that is acted in, which is asked for the cube. Where
        it acts in the tool's frame, it is asked for the way there,
        `to_tool_frame`. Its scene may change between the episodes.
      lets_go: whether it opens the gripper in the end; else it fails, with the
        cube held where it belongs, for a classifier to tell that from success.
      wanders: whether it does none of this but goes from one place to another,
        for a classifier to look past the arm.

    Raises:
      ValueError: if the noise is negative or there is no environment.
    """
    super().__init__(noise, seed, environment)
    self._lets_go = lets_go
    self._wanders = wanders
    self.begin()

  def begin(self) -> None:
    self._closed = False
    self._place = None  # that it wanders to
    self._steps = 0  # on its way there

  def select_action(self, observation: types.NestedArray) -> np.ndarray:
    """Returns the next action, [7] float32 in [-1, 1]."""
    scene = self.scene
    pose = scene.tool_pose
    if self._wanders:
      position, self._closed = self._wander(pose[:3], scene)
    else:
      position, self._closed = self._plan(pose[:3], scene)
    upright = transform.Rotation.from_euler('xyz', scene.task.reset[3:])
    return self.move(
      position - pose[:3],
      motion.turn_to(pose, upright),
      gripper=(-1.0 if self._closed else 1.0,),
    )

  def _wander(self, tool: np.ndarray, scene: Scene) -> tuple[np.ndarray, bool]:
    """Returns what `_plan` does.

    Every other place is about the cube: there the gripper hides it.
    """
    self._steps -= 1
    if self._steps < 0 or np.linalg.norm(tool - self._place) < _REACHED:
      self._steps = _WANDERING
      low, high = scene.task.pose_low[:3], scene.task.pose_high[:3]
      self._place = self._rng.uniform(low, high)
      if self._rng.random() < 0.5:
        about = self._rng.normal(scene.cube_position, _AROUND)
        self._place = np.clip(about, low, high)
      self._closed = self._rng.random() < 0.5
    return self._place, self._closed

  def _plan(self, tool: np.ndarray, scene: Scene) -> tuple[np.ndarray, bool]:
    """Returns where the tool shall go, [3] m, and whether the gripper closes.

    Args:
      tool: [3], m.
      scene: with the cube.
    """
    cube, goal, low = scene.cube_position, scene.goal, scene.task.target[2]
    beyond = abs(cube[1] - goal[1])
    lowered = cube[2] < goal[2] + _RELEASE
    if self._closed and np.linalg.norm(cube - tool) < _SLIPPED:
      if beyond > _THERE:
        return _across(tool, goal, low + _CLEAR), True
      if not lowered:
        return np.append(goal[:2], tool[2] - _LOWERING), True
      return tool, not self._lets_go
    if beyond < _INSIDE and lowered:
      return _across(tool, scene.task.reset, low + _CLEAR), False
    beside = np.linalg.norm(cube[:2] - tool[:2])
    if beside > _FAR:
      return _across(tool, cube, low + _CLEAR), False
    if beside > 2 * _ALIGNED:
      return _across(tool, cube, low + _HOVER), False
    height = max(cube[2], low)
    near = beside < _ALIGNED and tool[2] < height + _GRASP
    return np.append(cube[:2], height - _GRASP), near


def _across(
  tool: np.ndarray, goal: Sequence[float], height: float
) -> np.ndarray:
  """Returns where the tool shall go, [3] m: up, and only then across."""
  risen = tool[2] > height - _RISEN
  return np.append(goal[:2] if risen else tool[:2], height)
