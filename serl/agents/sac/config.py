"""Every constant of SAC."""

import dataclasses
from typing import Literal

from serl import configs
from serl.agents.sac import quirks as sac_quirks
from serl.networks import mlp


@dataclasses.dataclass(frozen=True)
class SACConfig:
  """SERL's recipe for state observations (arXiv 2401.16013, appendix).

  SAC, REDQ and settings like TD3's are configurations, not other agents: see
  the functions below.
  """

  # Rows of a minibatch.
  batch_size: configs.Size = 256
  # Critic updates of a round, the update-to-data ratio; the policy and the
  # temperature are updated once a round.
  updates_per_round: configs.Few = 8
  # Weight of the next step's value, beside the environment's discount.
  discount: configs.Fraction = 0.99
  # Critics in the ensemble.
  critic_members: configs.Few = 10
  # Of which this many are drawn for each target; the least value counts.
  target_members: configs.Few = 2
  # Part of the way that the target critics move at each critic update.
  target_rate: configs.Rate = 0.005
  # Adam's rates, after the warm-up.
  policy_learning_rate: configs.Rate = 3e-4
  critic_learning_rate: configs.Rate = 3e-4
  temperature_learning_rate: configs.Rate = 3e-4
  # Updates over which the rate of policy and critics rises linearly from 0. As
  # in SERL, each update counts for all rates, and a round has updates_per_round
  # of the critics and one of policy and temperature: 2000 are 222 rounds of 8.
  warmup_steps: configs.NonNegativeInt = 2000
  # The same for the temperature.
  temperature_warmup_steps: configs.NonNegativeInt = 0
  # Weight of the entropy at the start.
  initial_temperature: configs.Positive = 1e-2
  # Adapt the temperature to the target entropy; else it stays as it starts.
  learn_temperature: bool = True
  # Entropy to keep, in nats; None is entropy_per_action * action_size.
  target_entropy: float | None = None
  # The same for each number of an action; SAC's paper has -1.
  entropy_per_action: float = -0.5
  # Count the next action's entropy in the critics' target.
  entropy_in_backup: bool = False
  # What the policy ascends: the ensemble's mean (REDQ) or least value (SAC).
  actor_objective: Literal['mean', 'min'] = 'mean'
  # Weight, in the policy's loss, of its action's squared distance from what was
  # demonstrated, as in TD3+BC (arXiv 2106.06860). A policy that stays near the
  # demonstrations has few actions whose values nobody has tried; 0 leaves them
  # to the critics.
  cloning: configs.NonNegative = 0.0
  # The least and the largest return that the task can have, to which the
  # critics' targets are clipped (HER, arXiv 1707.01495, appendix A): without,
  # the values of what is seldom tried first rise far above. None if unknown.
  return_bounds: tuple[float, float] | None = None
  # Widths of the hidden layers of policy and critics.
  hidden_sizes: tuple[configs.Size, ...] = (256, 256)
  # Function behind each hidden layer.
  activation: mlp.Activation = 'tanh'
  # Normalise the outputs of each hidden layer before the activation.
  layer_norm: bool = True
  # Bounds of the policy's standard deviation before tanh.
  min_std: configs.Positive = 1e-5
  max_std: configs.Positive = 5.0
  # Map observations from their spec's bounds to [-1, 1]; where an encoder reads
  # them, that is `EncoderConfig.scale_proprioception`'s.
  scale_observations: bool = False
  # Transitions that the replay keeps.
  replay_size: configs.Count = 1_000_000
  # Transitions that must be in before learning starts.
  min_replay_size: configs.Count = 1000
  # SERL's peculiarities, none by default.
  quirks: sac_quirks.SERLQuirks = sac_quirks.SERLQuirks()

  def __post_init__(self):
    configs.check(self)
    members, quirks = self.critic_members, self.quirks
    configs.demand(
      self,
      (
        'target_members',
        quirks.draw_with_replacement or self.target_members <= members,
        f'at most critic_members, {members}, without replacement',
      ),
      (
        'hidden_sizes',
        bool(self.hidden_sizes) or not quirks.shared_value_head,
        'one width or more before a shared_value_head',
      ),
      (
        'min_replay_size',
        self.min_replay_size <= self.replay_size,
        f'from 1 to replay_size, {self.replay_size}: the replay holds no more',
      ),
      ('min_std', self.min_std <= self.max_std, 'in (0, max_std]'),
      (
        'return_bounds',
        self.return_bounds is None
        or self.return_bounds[0] < self.return_bounds[1],
        'None or a least and a larger return',
      ),
    )

  def entropy_to_keep(self, action_size: int) -> float:
    """Returns the target entropy of an agent of such actions, in nats."""
    if self.target_entropy is not None:
      return self.target_entropy
    return self.entropy_per_action * action_size


def serl() -> SACConfig:
  """Returns SERL's recipe for state observations."""
  return SACConfig()


def cpu() -> SACConfig:
  """Returns what learns fastest on a few cores: fewer critics, larger steps."""
  return SACConfig(
    critic_members=4,
    policy_learning_rate=1e-3,
    critic_learning_rate=1e-3,
    temperature_learning_rate=1e-3,
    warmup_steps=0,
    discount=0.97,
    scale_observations=True,
  )


def sac() -> SACConfig:
  """Returns SAC as published (arXiv 1812.05905): the least of two critics."""
  return SACConfig(
    updates_per_round=1,
    critic_members=2,
    target_members=2,
    warmup_steps=0,
    initial_temperature=1.0,
    entropy_per_action=-1.0,
    entropy_in_backup=True,
    actor_objective='min',
    activation='relu',
    layer_norm=False,
  )


def redq() -> SACConfig:
  """Returns REDQ as published (arXiv 2101.05982): 20 updates a step.

  Its target entropies are those of MBPO by task, about half a nat an action.
  """
  return dataclasses.replace(
    sac(),
    updates_per_round=20,
    critic_members=10,
    entropy_per_action=-0.5,
    actor_objective='mean',
  )


def td3_like() -> SACConfig:
  """Returns settings like TD3's (arXiv 1802.09477).

  Noise of fixed size explores and smooths the target, there is next to no
  entropy bonus, and the policy is updated at every second critic update. TD3
  itself clips the target's noise and adds noise after tanh.
  """
  return SACConfig(
    updates_per_round=2,
    critic_members=2,
    target_members=2,
    warmup_steps=0,
    initial_temperature=1e-8,
    learn_temperature=False,
    min_std=0.2,
    max_std=0.2,
  )
