"""Every constant of behaviour cloning."""

import dataclasses
from typing import Annotated, Literal

from serl import configs
from serl.networks import encoders
from serl.networks import mlp

_Index = Annotated[int, configs.Bounds(-1000, 1000)]
_Window = Annotated[int, configs.Bounds(0, 1000)]


@dataclasses.dataclass(frozen=True)
class BCConfig:
  """Behaviour cloning with a gripper that is not drowned; see README.md."""

  # Rows of a minibatch; a round is one update with one of them.
  batch_size: configs.Size = 256
  # Adam's rate.
  learning_rate: configs.Rate = 1e-3
  # Part of the weights that is taken off them at rate 1; Loshchilov and Hutter
  # (arXiv 1711.05101). Few demonstrations are learned by heart without it.
  weight_decay: configs.NonNegative = 1.0
  # Part of the way that the average of the parameters, which acts, moves to
  # them at each update: they themselves act well at one checkpoint and badly at
  # the next. 1 lets them act.
  average_rate: configs.Rate = 0.002
  # Widths of the policy's hidden layers.
  hidden_sizes: tuple[configs.Size, ...] = (256, 256)
  # Function behind each hidden layer.
  activation: mlp.Activation = 'tanh'
  # Normalise the outputs of each hidden layer before the activation.
  layer_norm: bool = True
  # What is likely around the mean: a normal distribution, whose mean is clipped
  # to [-1, 1] to act, or one squashed by tanh.
  head: Literal['normal', 'tanh_normal'] = 'normal'
  # Bounds of its standard deviation (before tanh). Equal ones make the loss a
  # squared error: a deviation that is learned is learned by heart.
  min_std: configs.Positive = 0.1
  max_std: configs.Positive = 0.1
  # Numbers of the action that command a gripper, -1 for the last one: above
  # 0.5 one way, below -0.5 the other way, between them neither. These are
  # classified; empty if there is no gripper.
  gripper: tuple[_Index, ...] = ()
  # Part of each minibatch that is drawn from the steps at which the gripper's
  # command changes and those around them. 0 draws all steps alike.
  event_fraction: configs.Part = 0.25
  # Steps before and after a change that count as around it.
  event_window: _Window = 2
  # Map observations from their spec's bounds to [-1, 1].
  scale_observations: bool = True
  # Of observations with images.
  encoder: encoders.EncoderConfig = dataclasses.field(
    default_factory=lambda: encoders.EncoderConfig(scale_proprioception=True)
  )
  # Pixels that an image is padded by, at its edges, before it is cropped back
  # to its size at random. 0 leaves images as they are.
  crop_padding: configs.Padding = 4
  # Change brightness, contrast, saturation and hue at random, too.
  color_jitter: bool = False
  # Transitions that are kept of the demonstrations; the oldest go first.
  max_demonstrations: configs.Count = 200_000

  def __post_init__(self):
    configs.check(self)
    rows = self.event_fraction * self.batch_size
    configs.demand(
      self,
      ('min_std', self.min_std <= self.max_std, 'in (0, max_std]'),
      (
        'event_fraction',
        abs(rows - round(rows)) < 1e-6,
        f'whole rows of batch_size {self.batch_size}, not {rows:g}',
      ),
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
