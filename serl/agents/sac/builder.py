"""Builds the pure pieces of SAC."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from serl import configs
from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.sac import config as sac_config
from serl.agents.sac import learning
from serl.agents.sac import networks as sac_networks


@dataclasses.dataclass(frozen=True)
class SACBuilder:
  """SAC from state observations as an `agents.builder.Builder`."""

  config: sac_config.SACConfig = dataclasses.field(
    default_factory=sac_config.serl
  )

  __post_init__ = configs.check

  def make_networks(
    self, spec: specs.EnvironmentSpec
  ) -> sac_networks.SACNetworks:
    """Returns the networks for `spec`."""
    return sac_networks.make_networks(spec, self.config)

  def make_algorithm(
    self, networks: sac_networks.SACNetworks
  ) -> builder.Algorithm:
    """Returns the learning rule."""
    return learning.make_algorithm(networks, self.config)

  def make_policy(
    self, networks: sac_networks.SACNetworks, evaluation: bool = False
  ) -> builder.Policy:
    """Returns the policy that samples, or the mode's to evaluate."""
    return sac_networks.make_policy(networks, evaluation)

  def policy_params(
    self, state: learning.TrainingState
  ) -> sac_networks.PolicyParams:
    """Returns the encoder's and the policy's parameters."""
    return sac_networks.PolicyParams(
      encoder=state.params.critic.encoder, policy=state.params.policy
    )

  def make_critic(self, networks: sac_networks.SACNetworks) -> builder.Critic:
    """Returns the mean over the ensemble."""

    def critic(
      state: learning.TrainingState,
      observation: types.NestedArray,
      action: jax.Array,
    ) -> jax.Array:
      params = state.params.critic
      embedding = networks.encoder.apply(params.encoder, observation)
      values = networks.critic.apply(params.ensemble, embedding, action)
      return jnp.mean(values, axis=0)

    return critic

  def make_tables(self) -> Sequence[builder.TableSpec]:
    """Returns the table of the agent's own experience."""
    return (
      builder.TableSpec(
        name='replay',
        max_size=self.config.replay_size,
        min_size=self.config.min_replay_size,
      ),
    )

  def batch_spec(self) -> builder.BatchSpec:
    """Returns the shape of one round's batch."""
    config = self.config
    return builder.BatchSpec(
      config.updates_per_round,
      config.batch_size,
      needs_demonstrations=config.cloning > 0,
      discount=config.discount,
    )

  def describe(self) -> Mapping[str, Any]:
    """Returns the configuration as plain data."""
    fields = dataclasses.asdict(self.config)
    fields['hidden_sizes'] = list(self.config.hidden_sizes)
    if self.config.return_bounds is not None:
      fields['return_bounds'] = list(self.config.return_bounds)
    return {'agent': 'sac', **fields}
