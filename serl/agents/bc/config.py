"""Every constant of behaviour cloning."""

import dataclasses
from typing import Literal

from serl.networks import encoders
from serl.networks import mlp


@dataclasses.dataclass(frozen=True)
class BCConfig:
  """Behaviour cloning with a gripper that is not drowned; see README.md."""

  # Rows of a minibatch; a round is one update with one of them.
  batch_size: int = 256
  # Adam's rate.
  learning_rate: float = 1e-3
  # Part of the weights that is taken off them at rate 1; Loshchilov and Hutter
  # (arXiv 1711.05101). Few demonstrations are learned by heart without it.
  weight_decay: float = 1.0
  # Part of the way that the average of the parameters, which acts, moves to
  # them at each update: they themselves act well at one checkpoint and badly at
  # the next. 1 lets them act.
  average_rate: float = 0.002
  # Widths of the policy's hidden layers.
  hidden_sizes: tuple[int, ...] = (256, 256)
  # Function behind each hidden layer.
  activation: mlp.Activation = 'tanh'
  # Normalise the outputs of each hidden layer before the activation.
  layer_norm: bool = True
  # What is likely around the mean: a normal distribution, whose mean is clipped
  # to [-1, 1] to act, or one squashed by tanh.
  head: Literal['normal', 'tanh_normal'] = 'normal'
  # Bounds of its standard deviation (before tanh). Equal ones make the loss a
  # squared error: a deviation that is learned is learned by heart.
  min_std: float = 0.1
  max_std: float = 0.1
  # Numbers of the action that command a gripper, -1 for the last one: above
  # 0.5 one way, below -0.5 the other way, between them neither. These are
  # classified; empty if there is no gripper.
  gripper: tuple[int, ...] = ()
  # Part of each minibatch that is drawn from the steps at which the gripper's
  # command changes and those around them. 0 draws all steps alike.
  event_fraction: float = 0.25
  # Steps before and after a change that count as around it.
  event_window: int = 2
  # Map observations from their spec's bounds to [-1, 1].
  scale_observations: bool = True
  # Of observations with images.
  encoder: encoders.EncoderConfig = dataclasses.field(
    default_factory=lambda: encoders.EncoderConfig(scale_proprioception=True)
  )
  # Pixels that an image is padded by, at its edges, before it is cropped back
  # to its size at random. 0 leaves images as they are.
  crop_padding: int = 4
  # Change brightness, contrast, saturation and hue at random, too.
  color_jitter: bool = False
  # Transitions that are kept of the demonstrations; the oldest go first.
  max_demonstrations: int = 200_000

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    rows = self.event_fraction * self.batch_size
    for name, met, expected in (
      ('batch_size', self.batch_size >= 1, 'at least 1'),
      ('learning_rate', self.learning_rate > 0, 'above 0'),
      ('average_rate', 0 < self.average_rate <= 1, 'in (0, 1]'),
      ('weight_decay', self.weight_decay >= 0, 'at least 0'),
      (
        'head',
        self.head in ('normal', 'tanh_normal'),
        "'normal' or 'tanh_normal'",
      ),
      (
        'activation',
        self.activation in mlp.ACTIVATIONS,
        f'one of {tuple(mlp.ACTIVATIONS)}',
      ),
      ('min_std', 0 < self.min_std <= self.max_std, 'in (0, max_std]'),
      ('event_fraction', 0 <= self.event_fraction < 1, 'in [0, 1)'),
      (
        'event_fraction',
        abs(rows - round(rows)) < 1e-6,
        f'whole rows of batch_size {self.batch_size}, not {rows:g}',
      ),
      ('event_window', self.event_window >= 0, 'at least 0 steps'),
      ('crop_padding', self.crop_padding >= 0, 'at least 0 pixels'),
      ('max_demonstrations', self.max_demonstrations >= 1, 'at least 1'),
    ):
      if not met:
        raise ValueError(
          f'BCConfig.{name} is {getattr(self, name)!r}, expected {expected}.'
        )


def cpu(action_size: int, images: bool = False) -> BCConfig:
  """Returns what trains in minutes on a few cores.

  Args:
    action_size: of the environment: the last of 4 or 7 numbers is a gripper's,
      3 or 6 are a motion's alone.
    images: whether the policy sees any.
  """
  return BCConfig(
    gripper=(-1,) if action_size in (4, 7) else (),
    batch_size=64 if images else 256,
    encoder=encoders.EncoderConfig(
      features=(16, 32, 64),
      pooling='spatial_embeddings',
      scale_proprioception=True,
    ),
  )
