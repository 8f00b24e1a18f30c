"""Builds the pure pieces of DrQ: SAC's, behind an encoder of images."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from serl import configs
from serl import specs
from serl.agents import builder
from serl.agents.drq import config as drq_config
from serl.agents.drq import learning
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import learning as sac_learning
from serl.agents.sac import networks as sac_networks
from serl.networks import encoders


@dataclasses.dataclass(frozen=True)
class DrQBuilder:
  """SAC from images as an `agents.builder.Builder`."""

  config: drq_config.DrQConfig = dataclasses.field(
    default_factory=drq_config.serl
  )

  __post_init__ = configs.check

  @property
  def _sac(self) -> sac_builder.SACBuilder:
    return sac_builder.SACBuilder(self.config.sac)

  def make_networks(
    self, spec: specs.EnvironmentSpec
  ) -> sac_networks.SACNetworks:
    """Returns the networks for `spec`."""
    encoder = encoders.make_encoder(spec.observations, self.config.encoder)
    return sac_networks.make_networks(spec, self.config.sac, encoder)

  def make_algorithm(
    self, networks: sac_networks.SACNetworks
  ) -> builder.Algorithm:
    """Returns the learning rule."""
    return learning.make_algorithm(networks, self.config)

  def make_policy(
    self, networks: sac_networks.SACNetworks, evaluation: bool = False
  ) -> builder.Policy:
    """Returns the policy that samples, or the mode's to evaluate."""
    return self._sac.make_policy(networks, evaluation)

  def policy_params(
    self, state: sac_learning.TrainingState
  ) -> sac_networks.PolicyParams:
    """Returns the encoder's trained and the policy's parameters."""
    return self._sac.policy_params(state)

  def make_critic(self, networks: sac_networks.SACNetworks) -> builder.Critic:
    """Returns the mean over the ensemble, of images as they are."""
    return self._sac.make_critic(networks)

  def make_tables(self) -> Sequence[builder.TableSpec]:
    """Returns the table of the agent's own experience."""
    return self._sac.make_tables()

  def batch_spec(self) -> builder.BatchSpec:
    """Returns the shape of one round's batch."""
    return self._sac.batch_spec()

  def describe(self) -> Mapping[str, Any]:
    """Returns the configuration as plain data."""
    return {
      'agent': 'drq',
      'crop_padding': self.config.crop_padding,
      'color_jitter': self.config.color_jitter,
      'encoder': self.config.encoder.describe(),
      'learns_by': self._sac.describe(),
    }
