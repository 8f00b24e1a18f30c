"""A scripted expert for cable routing, for demonstrations on the twin."""

from typing import Protocol

import dm_env
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

  scene: motion.Scene


class CableRouteExpert:
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
    if not noise >= 0:
      raise ValueError(f'noise={noise}; expected a standard deviation >= 0.')
    if not miss >= 0:
      raise ValueError(f'miss={miss}; expected metres, 0 or more.')
    if environment is None:
      raise ValueError(
        'environment=None; expected the environment that is acted in, to ask '
        'it for the poses of the tool and of the clip.'
      )
    self._scene = environment.scene
    self._to_policy_frame = getattr(environment, 'to_tool_frame', np.asarray)
    self._noise = noise
    self._miss = miss
    self._rng = np.random.default_rng(seed)
    self._begin()

  def _begin(self) -> None:
    self._pressing = False
    # In the frame of the tool at the target, whose z points down.
    self._aside = self._miss * self._rng.uniform((-1, -1, -1), (1, 1, 0))

  def select_action(self, observation: types.NestedArray) -> np.ndarray:
    """Returns the next action, [6] float32 in [-1, 1]."""
    pose, target = self._scene.tool_pose, self._scene.target
    goal = transform.Rotation.from_quat(target[3:])
    turn = motion.turn_to(pose, goal)
    position = target[:3] + goal.apply(self._aside)
    position[2] += self._plan(
      offset=np.linalg.norm(pose[:2] - position[:2]),
      turn=np.linalg.norm(turn),
    )
    return motion.make_action(
      position - pose[:3],
      turn,
      self._scene.task.action_scale,
      self._noise * self._rng.standard_normal(6),
      to_policy_frame=self._to_policy_frame,
    )

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

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins a new attempt."""
    self._begin()

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Learns nothing."""

  def update(self) -> None:
    """Has no parameters."""
