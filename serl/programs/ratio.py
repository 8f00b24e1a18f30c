"""How many updates the learner may make for the steps that were taken."""

import dataclasses

import dm_env

from serl import configs
from serl import core

_SLACK = 300  # steps


@dataclasses.dataclass(frozen=True)
class UpdateRatio:
  """Holds the learner to `asked` critic updates an environment step.

  Steps count from `start_step` on, when training begins: those before it owe no
  updates. The learner waits when it is ahead. Actors wait when it is behind,
  where `keeps` holds for what they act in.
  """

  asked: configs.Positive
  start_step: configs.NonNegativeInt
  updates_per_round: configs.Count

  __post_init__ = configs.check

  def may_update(self, env_steps: int, rounds: int) -> bool:
    """Returns whether one more round keeps the ratio at or below the asked."""
    updates = (rounds + 1) * self.updates_per_round
    return updates <= self.asked * (env_steps - self.start_step)

  def overdue(self, env_steps: int, rounds: int) -> float:
    """Returns for how many steps the next round has been due, if positive."""
    updates = (rounds + 1) * self.updates_per_round
    return env_steps - self.start_step - updates / self.asked

  def achieved(self, env_steps: int, rounds: int) -> float:
    """Returns the critic updates made an environment step so far."""
    steps = env_steps - self.start_step
    return rounds * self.updates_per_round / steps if steps > 0 else 0.0


def slack(episode_steps: int) -> int:
  """Returns for how many steps of each actor updates may be overdue.

  They keep the learner busy while an actor that has waited runs an episode.

  Args:
    episode_steps: of the actor's longest episode so far.
  """
  return max(_SLACK, episode_steps)


def lead(episode_steps: int) -> int:
  """Returns how many steps an actor that waits may be ahead of its updates.

  Args:
    episode_steps: of its longest episode so far.
  """
  return slack(episode_steps) + episode_steps


def keeps(keep_ratio: bool | None, environment: dm_env.Environment) -> bool:
  """Returns whether an actor waits for the updates of its steps.

  Args:
    keep_ratio: of the run; None is True in simulation.
    environment: that it acts in. One that does not say that it runs in real
      time counts as a simulation.

  Raises:
    ValueError: it is to wait, and runs in real time.
  """
  real_time = (
    isinstance(environment, core.HasRealTime) and environment.real_time
  )
  if keep_ratio and real_time:
    raise ValueError(
      'keep_ratio is True (--keep-ratio), but the environment runs in real '
      'time, as a real arm does; expected None or False: the learner never '
      'holds up a robot.'
    )
  return not real_time if keep_ratio is None else keep_ratio
