"""Every constant of VICE."""

import dataclasses
from typing import Literal

from serl.agents.classifier import config as classifier_config
from serl.networks import encoders


@dataclasses.dataclass(frozen=True)
class VICEConfig:
  """What VICE adds to an agent (arXiv 1805.11686 and 1904.07854)."""

  # The classifier whose word is the reward.
  network: classifier_config.NetworkConfig = dataclasses.field(
    default_factory=classifier_config.NetworkConfig
  )
  # What the agent is rewarded with: the logarithm of the probability of the
  # goal, as in the papers, or the probability itself, which is never negative.
  reward: Literal['log_probability', 'probability'] = 'log_probability'
  # The logarithm's lower bound.
  lowest_reward: float = -5.0
  # Goals in a minibatch, beside the agent's rows. The classifier compares them
  # with as many of the agent's own observations.
  goals_per_minibatch: int = 64
  # Updates of the classifier in a round, each with a minibatch of its own.
  updates_per_round: int = 1
  # Adam's rate.
  learning_rate: float = 3e-4
  # Part of every label that is shared out between the classes. It keeps the
  # logits finite where the classes are easily told apart.
  label_smoothing: float = 0.2
  # Images and labels are mixed with weights from Beta(alpha, alpha) (arXiv
  # 1710.09412); 0 leaves them as they are.
  mixup_alpha: float = 1.0
  # Weight of the squared distance from 1 of the gradient's norm (arXiv
  # 1704.00028), taken of the logit by the embedding: by the pixels it would
  # cost a second backward pass through the convolutions.
  gradient_penalty: float = 10.0
  # Pixels that an image is padded by before it is cropped back at random.
  crop_padding: int = 4
  # Goals that the table keeps.
  max_goals: int = 10_000

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    for name, met, expected in (
      (
        'reward',
        self.reward in ('log_probability', 'probability'),
        "'log_probability' or 'probability'",
      ),
      ('lowest_reward', self.lowest_reward < 0, 'below 0'),
      ('goals_per_minibatch', self.goals_per_minibatch >= 1, 'at least 1'),
      ('updates_per_round', self.updates_per_round >= 1, 'at least 1'),
      ('learning_rate', self.learning_rate > 0, 'above 0'),
      ('label_smoothing', 0 <= self.label_smoothing < 1, 'in [0, 1)'),
      ('mixup_alpha', self.mixup_alpha >= 0, 'at least 0'),
      ('gradient_penalty', self.gradient_penalty >= 0, 'at least 0'),
      ('crop_padding', self.crop_padding >= 0, 'at least 0 pixels'),
      ('max_goals', self.max_goals >= 1, 'at least 1'),
    ):
      if not met:
        raise ValueError(
          f'VICEConfig.{name} is {getattr(self, name)!r}, expected {expected}.'
        )


def cpu() -> VICEConfig:
  """Returns what goes with the other agents' settings for a few cores."""
  return VICEConfig(
    network=classifier_config.NetworkConfig(
      encoder=encoders.EncoderConfig(features=(16, 32, 64, 128))
    ),
    goals_per_minibatch=32,
    learning_rate=1e-3,
  )
