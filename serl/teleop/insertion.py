"""A scripted expert for insertions, for demonstrations on the twin."""

from typing import Protocol

import numpy as np
from scipy.spatial import transform

from serl import types
from serl.teleop import motion

# m and rad.
_HOVER = 0.003  # above the board's face, where the part is aligned
_ALIGNED = 0.00015  # of the tip beside the hole's axis
_ALIGNED_ROTATION = 0.01
_STANDING = (
  0.0002  # a step: the part stands on the board or on the hole's floor
)
_INSIDE = 0.002  # below the face, from where the hole leads the part
# Commanded below the tool while it is lowered: outside the hole, a faster arm
# swings sideways.
_LOWERING = 0.0015
_LOWERING_INSIDE = 0.02


class Part(Protocol):
  """What is inserted, in m."""

  reach: float  # from the tool to the part's tip
  depth: float  # of the hole


class Scene(motion.TargetScene, Protocol):
  """Knows what the part is, too."""

  part: Part


class HasScene(Protocol):
  """An environment on the twin."""

  scene: Scene


class InsertionExpert(motion.ArmExpert):
  """Inserts the part: aligns it above the hole, then lowers it."""

  def __init__(
    self,
    noise: float = 0.0,
    seed: int = 0,
    environment: HasScene | None = None,
  ):
    """Creates the expert.

    Args:
      noise: standard deviation of the Gaussian noise that is added to an
        action.
      seed: of the noise.
      environment: the one that is acted in, which is asked for the poses:
        observations do not tell where the hole is. Where it acts in the tool's
        frame, it is asked for the way there, `to_tool_frame`.

    Raises:
      ValueError: if the noise is negative or there is no environment.
    """
    super().__init__(noise, seed, environment)
    self.begin()

  def begin(self) -> None:
    self._lowering = False
    self._height = np.inf

  def select_action(self, observation: types.NestedArray) -> np.ndarray:
    """Returns the next action, [6] float32 in [-1, 1]."""
    scene = self.scene
    pose, target = scene.tool_pose, scene.target
    tool = transform.Rotation.from_quat(pose[3:])
    goal = transform.Rotation.from_quat(target[3:])
    turn = motion.turn_to(pose, goal)
    # Of the tip as the tool is turned now, on the hole's axes.
    tip = pose[:3] + tool.apply((0.0, 0.0, scene.part.reach))
    end = target[:3] + goal.apply((0.0, 0.0, scene.part.reach))
    beside = goal.inv().apply(tip - end)
    height = self._plan(
      height=-beside[2],  # the tool's z points down
      offset=np.linalg.norm(beside[:2]),
      turn=np.linalg.norm(turn),
    )
    # Along the hole's axis, which need not be upright.
    position = target[:3] - goal.apply((0.0, 0.0, height))
    return self.move(position - pose[:3], turn)

  def _plan(self, height: float, offset: float, turn: float) -> float:
    """Returns the height that the tip shall have, m above its end.

    Args:
      height: that it has, m.
      offset: of it beside the hole's axis, m.
      turn: that is left to the tool, rad.
    """
    depth = self.scene.part.depth
    inside = height < depth - _INSIDE
    standing = abs(height - self._height) < _STANDING
    self._height = height
    near = height < depth + 2 * _HOVER
    if near and turn < _ALIGNED_ROTATION and offset < _ALIGNED:
      self._lowering = True
    elif standing or offset > 10 * _ALIGNED:
      self._lowering = False
    if inside:
      return max(height - _LOWERING_INSIDE, 0.0)
    if self._lowering:
      return height - _LOWERING
    return depth + _HOVER
