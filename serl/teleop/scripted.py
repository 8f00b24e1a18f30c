"""Scripted experts: policies that know the task, for demonstrations."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from serl import core
from serl import types
from serl.teleop import expert

# Of PickCube; m and s. The tool trails its target by the ratio of the law's
# damping and stiffness.
_TRANSLATION_SCALE = 0.1  # m the target moves at an action of 1
_LAG = 0.1  # s
_LARGEST = 0.4  # action; faster, the tool outruns the observed velocity
_HOVER = 0.06  # m above the cube, where the descent begins
_ALIGNED = 0.02  # m beside the cube's axis, from where the fingers clear it
_GRASP_DEPTH = 0.008  # m from the cube's centre, near enough to close
_CLOSING_STEPS = 6  # that the fingers take to hold the cube
_LIFT_HEIGHTS = (0.27, 0.27)  # m, held there the cube has risen by over 0.2 m


class HasBlock(Protocol):
  """An environment that knows where its cube is."""

  @property
  def block_position(self) -> np.ndarray:
    """The centre of the cube, [3], m, base frame."""


class PickCubeExpert(expert.Expert):
  """Picks up the cube of PickCube.

  It moves above the cube, descends, closes the gripper and lifts; a cube that
  slipped away is approached anew.
  """

  def __init__(
    self,
    noise: float = 0.0,
    seed: int = 0,
    environment: HasBlock | None = None,
    miss: float = 0.0,
    heights: tuple[float, float] = _LIFT_HEIGHTS,
  ):
    """Creates the expert.

    Args:
      noise: standard deviation of the Gaussian noise that is added to the
        three translations of an action.
      seed: of the noise.
      environment: the one that is acted in, which is asked for the cube:
        images do not tell this expert where it is. Without it, the cube's
        position must be observed.
      miss: how far beside the cube it may aim along x and y, m, anew for each
        approach: so it lifts an empty gripper, as failures to learn from.
      heights: between which it lifts the tool, m, base frame, anew for each
        approach: low ones are failures, too.

    Raises:
      ValueError: if noise or miss is negative, or heights descend.
    """
    super().__init__(noise, seed)
    if not miss >= 0:
      raise ValueError(f'miss={miss}; expected metres, 0 or more.')
    if not heights[0] <= heights[1]:
      raise ValueError(f'heights={heights}; expected the lower one first.')
    self._environment = environment
    self._miss = miss
    self._heights = heights
    self.begin()

  def begin(self) -> None:
    self._descending = False
    self._closed_steps = 0
    self._aside = np.zeros(3)
    if self._miss:
      self._aside = self._miss * self._rng.uniform((-1, -1, 0), (1, 1, 0))
    self._height, highest = self._heights
    if self._height < highest:
      self._height = self._rng.uniform(self._height, highest)

  def select_action(self, observation: types.NestedArray) -> np.ndarray:
    """Returns the next action, [4] float32, for an observation of PickCube.

    Raises:
      ValueError: if the cube is neither observed nor asked for.
    """
    block = self._find_block(observation) + self._aside
    tcp = observation['tcp_pos'].astype(float)
    goal, closing = self._plan(block, tcp)
    # Where the target that the tool trails must be; it is not observed.
    target = tcp + _LAG * observation['tcp_vel'].astype(float)
    step = np.clip((goal - target) / _TRANSLATION_SCALE, -_LARGEST, _LARGEST)
    step += self._noise * self._rng.standard_normal(3)
    return np.clip(np.append(step, closing), -1.0, 1.0).astype(np.float32)

  def _find_block(self, observation: types.NestedArray) -> np.ndarray:
    if self._environment is not None:
      return self._environment.block_position
    if 'block_pos' not in observation:
      raise ValueError(
        f'The observation {sorted(observation)} has no block_pos; expected the '
        "cube's position in it, or PickCubeExpert(environment=...) to ask."
      )
    return observation['block_pos'].astype(float)

  def _plan(
    self, block: np.ndarray, tcp: np.ndarray
  ) -> tuple[np.ndarray, float]:
    """Returns where the tool shall go, [3] m, and the gripper's action."""
    beside = np.linalg.norm(block[:2] - tcp[:2])
    height = tcp[2] - block[2]
    if beside > 2 * _ALIGNED:
      self.begin()
    if not self._descending:
      self._descending = bool(beside < _ALIGNED and height < 1.5 * _HOVER)
      return block + (0.0, 0.0, _HOVER), -1.0
    if self._closed_steps == 0 and height > _GRASP_DEPTH:
      return block, -1.0
    self._closed_steps += 1
    if self._closed_steps <= _CLOSING_STEPS:
      return block, 1.0
    return np.array([tcp[0], tcp[1], self._height]), 1.0


def _insertion(
  noise: float = 0.0, seed: int = 0, environment: Any = None
) -> core.Actor:
  # Only this one needs scipy.
  from serl.teleop import insertion

  return insertion.InsertionExpert(noise, seed, environment)


def _cable_route(
  noise: float = 0.0, seed: int = 0, environment: Any = None, miss: float = 0.0
) -> core.Actor:
  from serl.teleop import cable_route

  return cable_route.CableRouteExpert(noise, seed, environment, miss)


def _bins_relocate(
  noise: float = 0.0, seed: int = 0, environment: Any = None
) -> core.Actor:
  from serl.teleop import bins_relocate

  return bins_relocate.BinsRelocateExpert(noise, seed, environment)


# By the name of the simulated task; each takes noise, seed and environment.
EXPERTS: dict[str, Callable[..., core.Actor]] = {
  'pick_cube': PickCubeExpert,
  'pick_cube_vision': PickCubeExpert,
  'peg_insert': _insertion,
  'peg_insert_vision': _insertion,
  'pcb_insert': _insertion,
  'pcb_insert_vision': _insertion,
  'cable_route': _cable_route,
  'cable_route_vision': _cable_route,
  'bins_forward': _bins_relocate,
  'bins_forward_vision': _bins_relocate,
  'bins_backward': _bins_relocate,
  'bins_backward_vision': _bins_relocate,
}

# Standard deviations with which they demonstrate: without, they show one way
# alone; a part enters its hole only by a steady hand.
NOISES = {
  'pick_cube': 0.05,
  'pick_cube_vision': 0.05,
  'peg_insert': 0.01,
  'peg_insert_vision': 0.01,
  'pcb_insert': 0.01,
  'pcb_insert_vision': 0.01,
  'cable_route': 0.05,
  'cable_route_vision': 0.05,
  'bins_forward': 0.1,
  'bins_forward_vision': 0.1,
  'bins_backward': 0.1,
  'bins_backward_vision': 0.1,
}
