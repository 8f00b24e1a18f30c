"""Every constant of DrQ."""

import dataclasses

from serl import configs
from serl.agents.sac import config as sac_config
from serl.networks import encoders


def _sac() -> sac_config.SACConfig:
  return sac_config.SACConfig(
    updates_per_round=4,
    discount=0.96,
    warmup_steps=0,
    replay_size=200_000,
  )


@dataclasses.dataclass(frozen=True)
class DrQConfig:
  """SERL's recipe for images (arXiv 2401.16013, appendix)."""

  # The learning rule.
  sac: sac_config.SACConfig = dataclasses.field(default_factory=_sac)
  # In front of policy and critics, trained by the critics' loss alone.
  encoder: encoders.EncoderConfig = dataclasses.field(
    default_factory=encoders.EncoderConfig
  )
  # Pixels that an image is padded by, at its edges, before it is cropped back
  # to its size at random. 0 leaves images as they are.
  crop_padding: configs.Padding = 4
  # Change brightness, contrast, saturation and hue at random, too.
  color_jitter: bool = False

  def __post_init__(self):
    configs.check(self)
    configs.demand(
      self,
      (
        'sac.scale_observations',
        not self.sac.scale_observations,
        'False: the encoder reads the observations, set '
        'EncoderConfig.scale_proprioception',
      ),
    )


def serl() -> DrQConfig:
  """Returns SERL's recipe for images."""
  return DrQConfig()


def cpu() -> DrQConfig:
  """Returns what learns fastest on a few cores, from images of 64 x 64.

  A narrower encoder that keeps where things are, fewer critics, smaller
  minibatches and larger steps.
  """
  return DrQConfig(
    sac=dataclasses.replace(
      sac_config.cpu(),
      scale_observations=False,  # but by the encoder
      batch_size=64,
      updates_per_round=4,
      discount=0.97,
      replay_size=50_000,
      min_replay_size=200,
    ),
    encoder=encoders.EncoderConfig(
      features=(16, 32, 64),
      pooling='spatial_embeddings',
      scale_proprioception=True,
    ),
  )
