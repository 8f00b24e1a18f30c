"""Every constant of VICE."""

import dataclasses
from typing import Annotated, Literal

from serl import configs
from serl.agents.classifier import config as classifier_config
from serl.networks import encoders

_Negative = Annotated[float, configs.Bounds(-1e9, 0, '[)')]


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
  lowest_reward: _Negative = -5.0
  # Whether an end of the task ends the return, too. Not by default: nothing is
  # rewarded behind an end, which is better than every reward by the logarithm
  # of a probability, so that the agent would learn to end episodes, and worse
  # than every probability, so that it would learn not to reach the goal.
  keep_terminations: bool = False
  # Goals in a minibatch, beside the agent's rows. The classifier compares them
  # with as many of the agent's own observations.
  goals_per_minibatch: configs.Size = 64
  # Updates of the classifier in a round, each with a minibatch of its own.
  updates_per_round: configs.Few = 1
  # Adam's rate.
  learning_rate: configs.Rate = 3e-4
  # Part of every label that is shared out between the classes. It keeps the
  # logits finite where the classes are easily told apart.
  label_smoothing: configs.Part = 0.2
  # Images and labels are mixed with weights from Beta(alpha, alpha) (arXiv
  # 1710.09412); 0 leaves them as they are.
  mixup_alpha: configs.NonNegative = 1.0
  # Weight of the squared distance from 1 of the gradient's norm (arXiv
  # 1704.00028), taken of the logit by the embedding: by the pixels it would
  # cost a second backward pass through the convolutions.
  gradient_penalty: configs.NonNegative = 10.0
  # Pixels that an image is padded by before it is cropped back at random.
  crop_padding: configs.Padding = 4
  # Goals that the table keeps.
  max_goals: configs.Count = 10_000

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    configs.check(self)
    configs.demand(
      self,
      (
        'keep_terminations',
        not self.keep_terminations or self.reward != 'probability',
        "False with the reward 'probability', which punishes the end of an "
        'episode, the success included: an agent earns more beside the goal. '
        "Or take the reward 'log_probability'",
      ),
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
