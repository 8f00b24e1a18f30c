"""Every constant of the reward classifier."""

import dataclasses
from typing import Any

from serl.networks import encoders


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """A classifier of images."""

  # Paths of the images that it looks at; None for all that are observed.
  cameras: tuple[str, ...] | None = None
  # In front of the head.
  encoder: encoders.EncoderConfig = dataclasses.field(
    default_factory=encoders.EncoderConfig
  )
  # Width of the head's one hidden layer.
  hidden_size: int = 256
  # Part of the hidden layer that is left out at each update.
  dropout_rate: float = 0.1

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    some = self.cameras is None or len(self.cameras) > 0
    _check(self, 'cameras', some, 'None for all, or some names')
    _check(self, 'hidden_size', self.hidden_size >= 1, 'at least 1')
    _check(self, 'dropout_rate', 0 <= self.dropout_rate < 1, 'in [0, 1)')

  def describe(self) -> dict[str, Any]:
    """Returns the configuration as plain data; see `EncoderConfig.describe`."""
    return {
      **dataclasses.asdict(self),
      'cameras': None if self.cameras is None else list(self.cameras),
      'encoder': self.encoder.describe(),
    }


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
  """How a classifier is trained."""

  network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
  # Pixels that an image is padded by, at its edges, before it is cropped back
  # to its size at random. 0 leaves images as they are.
  crop_padding: int = 4
  # Rows of a minibatch; half of them are successes, however rare those are.
  batch_size: int = 64
  # Updates, and Adam's rate.
  training_steps: int = 1000
  learning_rate: float = 3e-4
  # Of the episodes, which only test.
  held_out_fraction: float = 0.25
  # Of failures that may count as successes, which the threshold keeps to.
  false_positive_rate: float = 0.01

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    _check(self, 'crop_padding', self.crop_padding >= 0, 'at least 0 pixels')
    even = self.batch_size >= 2 and self.batch_size % 2 == 0
    _check(self, 'batch_size', even, 'an even number: half are successes')
    _check(self, 'training_steps', self.training_steps >= 1, 'at least 1')
    _check(self, 'learning_rate', self.learning_rate > 0, 'above 0')
    within = 0 < self.held_out_fraction < 1
    _check(self, 'held_out_fraction', within, 'in (0, 1)')
    rate = 0 <= self.false_positive_rate < 1
    _check(self, 'false_positive_rate', rate, 'in [0, 1), such as 0.01')


def _check(config: object, name: str, met: bool, expected: str) -> None:
  if not met:
    raise ValueError(
      f'{type(config).__name__}.{name} is {getattr(config, name)!r}, expected '
      f'{expected}.'
    )


def serl(
  cameras: tuple[str, ...] | None = None, weights: str | None = None
) -> ClassifierConfig:
  """Returns a recipe for images of 128 x 128 and an accelerator.

  Args:
    cameras: to look at; None for all.
    weights: file of a pretrained ResNet-10 to train on, as SERL does; None for
      the small encoder.
  """
  network = NetworkConfig(cameras, encoders.EncoderConfig())
  return ClassifierConfig(_on(weights, network))


def cpu(
  cameras: tuple[str, ...] | None = None, weights: str | None = None
) -> ClassifierConfig:
  """Returns what trains in a minute on a core, from images of 64 x 64.

  Args:
    cameras, weights: see `serl`.
  """
  encoder = encoders.EncoderConfig(features=(16, 32, 64, 128))
  return ClassifierConfig(
    _on(weights, NetworkConfig(cameras, encoder)),
    training_steps=500,
    learning_rate=1e-3,
  )


def _on(weights: str | None, network: NetworkConfig) -> NetworkConfig:
  """Returns `network` on the frozen features of `weights`, if there are any."""
  if weights is None:
    return network
  encoder = encoders.EncoderConfig(
    kind='frozen_resnet10', weights=weights, pooling='spatial_embeddings'
  )
  return dataclasses.replace(network, encoder=encoder)
