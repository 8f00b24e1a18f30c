"""How many updates the learner may make for the steps that were taken."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class UpdateRatio:
  """Holds the learner to `asked` critic updates an environment step.

  Steps count from `start_step` on, when training begins: those before it owe no
  updates. The learner waits when it is ahead; it never holds up an actor.
  """

  asked: float
  start_step: int
  updates_per_round: int

  def may_update(self, env_steps: int, rounds: int) -> bool:
    """Returns whether one more round keeps the ratio at or below the asked."""
    updates = (rounds + 1) * self.updates_per_round
    return updates <= self.asked * (env_steps - self.start_step)

  def achieved(self, env_steps: int, rounds: int) -> float:
    """Returns the critic updates made an environment step so far."""
    steps = env_steps - self.start_step
    return rounds * self.updates_per_round / steps if steps > 0 else 0.0
