"""What there is to learn from in demonstrations, counted."""

import dataclasses

import numpy as np

from serl import specs
from serl import types
from serl.demos import files

_STILL = 1e-6  # of an action that moves nothing


@dataclasses.dataclass
class Content:
  """Counts of episodes in which there is something to learn from."""

  episodes: int = 0
  steps: int = 0
  rewarded: int = 0  # episodes with a reward beside costs
  changing: int = 0  # with observations that differ
  moving: int = 0  # with an action that is not 0

  def add(self, episode: types.Episode) -> None:
    """Counts an episode in."""
    self.episodes += 1
    self.steps += episode.length
    self.rewarded += is_rewarded(np.asarray(episode.reward))
    columns = specs.flatten(episode.observation).values()
    self.changing += any((column != column[:1]).any() for column in columns)
    self.moving += any(map(_moves, specs.flatten(episode.action).values()))

  def demand(self, name: str, rewarded: bool = True) -> None:
    """Refuses demonstrations from which nothing is learned.

    Args:
      name: of them, for errors.
      rewarded: whether their rewards are learned from.

    Raises:
      FileError: nothing is rewarded, all observations of each episode are
        equal, or no action moves anything.
    """
    problems = []
    if rewarded and not self.rewarded:
      problems.append(
        'nothing is rewarded: end them with the reward of success, have a '
        'classifier reward them (--classifier), or clone them (--agent=bc)'
      )
    if not self.changing:
      problems.append(
        'all observations of an episode are equal: look at the sensors and '
        'cameras that they were recorded with'
      )
    if not self.moving:
      problems.append(
        'no action moves anything, all are 0: look at the device that they '
        'were recorded with'
      )
    if self.episodes and problems:
      raise files.FileError(
        f'{name}: there is nothing to learn from in any of {self.episodes} '
        f'demonstrations, {self.steps} steps:\n  ' + '\n  '.join(problems)
      )


def is_rewarded(reward: np.ndarray) -> bool:
  """Returns whether rewards [T] are more than costs, as of the gripper.

  Where most steps cost something, as the time until success, ending is what is
  rewarded.
  """
  return bool((reward > 0).any() or np.median(reward) < 0)


def _moves(action: np.ndarray) -> bool:
  # A number among discrete actions stands for what it does.
  return action.dtype.kind != 'f' or bool((np.abs(action) > _STILL).any())
