"""A scripted expert for cable routing, for demonstrations on the twin."""

from typing import Protocol

import numpy as np
from scipy.spatial import transform

from serl import types
from serl.teleop import motion

# m and rad.
_HOVER = 0.035  # above the target, where the cable is over the clip's lips
_ALIGNED = 0.004  # of the tool beside the target
_ALIGNED_ROTATION = 0.1
_SLIPPED = 0.012  # beside the target; from there the tool is lifted again
_PRESS = 0.002  # below the target: the arm is soft


class HasScene(Protocol):
  """An environment on the twin."""

  scene: motion.TargetScene


class CableRouteExpert(motion.ArmExpert):
  """Routes the cable: brings it above the clip, then presses it down.

  It stays there until the episode ends.
  """

  def __init__(
    self,
    noise: float = 0.0,
    seed: int = 0,
    environment: HasScene | None = None,
    miss: float = 0.0,
  ):
    """Creates the expert.

    Args:
      noise: standard deviation of the Gaussian noise that is added to an
        action.
      seed: of the noise and of the misses.
      environment: the one that is acted in, which is asked for the poses:
        observations do not tell where the clip is. Where it acts in the tool's
        frame, it is asked for the way there, `to_tool_frame`.
      miss: how far from the target it may aim, m, anew in each episode: along
        the slot and across it, either way, and above it. For failures that are
        nearly none: the cable comes to lie over the clip, on it or beside it.

    Raises:
      ValueError: if noise or miss is negative or there is no environment.
    """
    if not miss >= 0:
      raise ValueError(f'miss={miss}; expected metres, 0 or more.')
    super().__init__(noise, seed, environment)
    self._miss = miss
    self.begin()

  def begin(self) -> None:
    self._pressing = False
    # In the frame of the tool at the target, whose z points down.
    self._aside = self._miss * self._rng.uniform((-1, -1, -1), (1, 1, 0))

  def select_action(self, observation: types.NestedArray) -> np.ndarray:
    """Returns the next action, [6] float32 in [-1, 1]."""
    scene = self.scene
    pose, target = scene.tool_pose, scene.target
    goal = transform.Rotation.from_quat(target[3:])
    turn = motion.turn_to(pose, goal)
    position = target[:3] + goal.apply(self._aside)
    position[2] += self._plan(
      offset=np.linalg.norm(pose[:2] - position[:2]),
      turn=np.linalg.norm(turn),
    )
    return self.move(position - pose[:3], turn)

  def _plan(self, offset: float, turn: float) -> float:
    """Returns the height that the tool shall have, m above the target.

    Args:
      offset: of it beside what it aims at, m.
      turn: that is left to it, rad.
    """
    if offset < _ALIGNED and turn < _ALIGNED_ROTATION:
      self._pressing = True
    elif offset > _SLIPPED:
      self._pressing = False
    return -_PRESS if self._pressing else _HOVER
