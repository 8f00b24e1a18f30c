"""Every constant of SAC."""

import dataclasses
from typing import Literal

import numpy as np

from serl.agents.sac import quirks as sac_quirks
from serl.networks import mlp


@dataclasses.dataclass(frozen=True)
class SACConfig:
  """SERL's recipe for state observations (arXiv 2401.16013, appendix).

  SAC, REDQ and settings like TD3's are configurations, not other agents: see
  the functions below.
  """

  # Rows of a minibatch.
  batch_size: int = 256
  # Critic updates of a round, the update-to-data ratio; the policy and the
  # temperature are updated once a round.
  updates_per_round: int = 8
  # Weight of the next step's value, beside the environment's discount.
  discount: float = 0.99
  # Critics in the ensemble.
  critic_members: int = 10
  # Of which this many are drawn for each target; the least value counts.
  target_members: int = 2
  # Part of the way that the target critics move at each critic update.
  target_rate: float = 0.005
  # Adam's rates, after the warm-up.
  policy_learning_rate: float = 3e-4
  critic_learning_rate: float = 3e-4
  temperature_learning_rate: float = 3e-4
  # Updates over which the rate of policy and critics rises linearly from 0. As
  # in SERL, each update counts for all rates, and a round has updates_per_round
  # of the critics and one of policy and temperature: 2000 are 222 rounds of 8.
  warmup_steps: int = 2000
  # The same for the temperature.
  temperature_warmup_steps: int = 0
  # Weight of the entropy at the start.
  initial_temperature: float = 1e-2
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
  cloning: float = 0.0
  # The least and the largest return that the task can have, to which the
  # critics' targets are clipped (HER, arXiv 1707.01495, appendix A): without,
  # the values of what is seldom tried first rise far above. None if unknown.
  return_bounds: tuple[float, float] | None = None
  # Widths of the hidden layers of policy and critics.
  hidden_sizes: tuple[int, ...] = (256, 256)
  # Function behind each hidden layer.
  activation: mlp.Activation = 'tanh'
  # Normalise the outputs of each hidden layer before the activation.
  layer_norm: bool = True
  # Bounds of the policy's standard deviation before tanh.
  min_std: float = 1e-5
  max_std: float = 5.0
  # Map observations from their spec's bounds to [-1, 1]; where an encoder reads
  # them, that is `EncoderConfig.scale_proprioception`'s.
  scale_observations: bool = False
  # Transitions that the replay keeps.
  replay_size: int = 1_000_000
  # Transitions that must be in before learning starts.
  min_replay_size: int = 1000
  # SERL's peculiarities, none by default.
  quirks: sac_quirks.SERLQuirks = sac_quirks.SERLQuirks()

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    for name in ('batch_size', 'updates_per_round', 'critic_members'):
      _check(self, name, getattr(self, name) >= 1, 'at least 1')
    members = self.critic_members
    for name, met, expected in (
      ('target_members', self.target_members >= 1, 'at least 1'),
      (
        'target_members',
        self.quirks.draw_with_replacement or self.target_members <= members,
        f'at most critic_members, {members}, without replacement',
      ),
      *(
        (name, getattr(self, name) > 0, 'above 0')
        for name in (
          'policy_learning_rate',
          'critic_learning_rate',
          'temperature_learning_rate',
        )
      ),
      *(
        (name, getattr(self, name) >= 0, 'at least 0')
        for name in ('warmup_steps', 'temperature_warmup_steps')
      ),
      (
        'hidden_sizes',
        min(self.hidden_sizes, default=1) >= 1
        and bool(self.hidden_sizes or not self.quirks.shared_value_head),
        'widths of at least 1, one or more before a shared_value_head',
      ),
      (
        'min_replay_size',
        1 <= self.min_replay_size <= self.replay_size,
        f'from 1 to replay_size, {self.replay_size}: the replay holds no more',
      ),
      ('discount', 0 <= self.discount <= 1, 'in [0, 1]'),
      ('target_rate', 0 < self.target_rate <= 1, 'in (0, 1]'),
      ('initial_temperature', self.initial_temperature > 0, 'above 0'),
      ('min_std', 0 < self.min_std <= self.max_std, 'in (0, max_std]'),
      ('cloning', self.cloning >= 0, 'a weight of at least 0'),
      (
        'return_bounds',
        self.return_bounds is None
        or (len(self.return_bounds) == 2 and np.less(*self.return_bounds)),
        'None or a least and a larger return',
      ),
      (
        'actor_objective',
        self.actor_objective in ('mean', 'min'),
        "'mean' or 'min'",
      ),
      (
        'activation',
        self.activation in mlp.ACTIVATIONS,
        f'one of {tuple(mlp.ACTIVATIONS)}',
      ),
    ):
      _check(self, name, met, expected)

  def entropy_to_keep(self, action_size: int) -> float:
    """Returns the target entropy of an agent of such actions, in nats."""
    if self.target_entropy is not None:
      return self.target_entropy
    return self.entropy_per_action * action_size


def _check(config: SACConfig, name: str, met: bool, expected: str) -> None:
  if not met:
    raise ValueError(
      f'SACConfig.{name} is {getattr(config, name)!r}, expected {expected}.'
    )


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
