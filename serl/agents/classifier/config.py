"""Every constant of the reward classifier."""

import dataclasses
from typing import Annotated, Any

from serl import configs
from serl.networks import encoders

_Cameras = Annotated[tuple[str, ...], configs.length(1, 100)]
_HeldOut = Annotated[float, configs.Bounds(0, 1, '()')]


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """A classifier of images."""

  # Paths of the images that it looks at; None for all that are observed.
  cameras: _Cameras | None = None
  # In front of the head.
  encoder: encoders.EncoderConfig = dataclasses.field(
    default_factory=encoders.EncoderConfig
  )
  # Width of the head's one hidden layer.
  hidden_size: configs.Size = 256
  # Part of the hidden layer that is left out at each update.
  dropout_rate: configs.Part = 0.1

  __post_init__ = configs.check

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
  crop_padding: configs.Padding = 4
  # Rows of a minibatch; half of them are successes, however rare those are.
  batch_size: configs.Size = 64
  # Updates, and Adam's rate.
  training_steps: configs.Count = 1000
  learning_rate: configs.Rate = 3e-4
  # Of the episodes, which only test.
  held_out_fraction: _HeldOut = 0.25
  # Of failures that may count as successes, which the threshold keeps to.
  false_positive_rate: configs.Part = 0.01

  def __post_init__(self):
    configs.check(self)
    configs.demand(
      self,
      (
        'batch_size',
        self.batch_size % 2 == 0,
        'an even number: half are successes',
      ),
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
