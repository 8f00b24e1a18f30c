"""Builds the pure pieces of the hybrid: an agent's, and the gripper's."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Annotated, Any

import jax

from serl import configs
from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.drq import builder as drq_builder
from serl.agents.drq import learning as drq_learning
from serl.agents.hybrid import config as hybrid_config
from serl.agents.hybrid import gripper
from serl.agents.hybrid import learning
from serl.agents.hybrid import networks as hybrid_networks
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from serl.ops import lazy_rlax as rlax


@dataclasses.dataclass(frozen=True)
class HybridBuilder:
  """SAC or DrQ for the motion beside Q-learning for the gripper.

  HIL-SERL, Luo et al. 2024 (arXiv 2410.21845). The environment's actions are
  one flat array, the gripper's is its last entry.
  """

  agent: Annotated[
    sac_builder.SACBuilder | drq_builder.DrQBuilder,
    configs.advice('- put RLPD and VICE around HybridBuilder'),
  ]
  config: hybrid_config.HybridConfig = dataclasses.field(
    default_factory=hybrid_config.HybridConfig
  )

  __post_init__ = configs.check

  @property
  def _agent_config(self) -> sac_config.SACConfig:
    config = self.agent.config
    return config if isinstance(config, sac_config.SACConfig) else config.sac

  def make_networks(
    self, spec: specs.EnvironmentSpec
  ) -> hybrid_networks.HybridNetworks:
    """Returns the agent's networks and the gripper's for `spec`."""
    return hybrid_networks.make_networks(
      spec,
      self.config,
      self.agent.make_networks(hybrid_networks.without_gripper(spec)),
      self._agent_config,
    )

  def make_algorithm(
    self, networks: hybrid_networks.HybridNetworks
  ) -> builder.Algorithm:
    """Returns the learning rule."""
    make = functools.partial(
      learning.make_algorithm, networks, self.config, self._agent_config
    )
    if not isinstance(self.agent, drq_builder.DrQBuilder):
      return make()
    augment = functools.partial(
      drq_learning.augment,
      crop_padding=self.agent.config.crop_padding,
      color_jitter=self.agent.config.color_jitter,
    )
    return make(augment, unroll=drq_learning.unrolls())

  def make_policy(
    self, networks: hybrid_networks.HybridNetworks, evaluation: bool = False
  ) -> builder.Policy:
    """Returns the policy that explores, or the one to evaluate."""
    agent_policy = self.agent.make_policy(networks.agent, evaluation)
    return hybrid_networks.make_policy(
      networks, self.config, agent_policy, evaluation
    )

  def policy_params(
    self, state: learning.TrainingState
  ) -> hybrid_networks.PolicyParams:
    """Returns what the agent's policy needs, and the gripper critic's."""
    return hybrid_networks.PolicyParams(
      agent=self.agent.policy_params(state.agent),
      gripper_critic=state.gripper_params,
    )

  def make_critic(
    self, networks: hybrid_networks.HybridNetworks
  ) -> builder.Critic:
    """Returns the sum of the agent's estimate and the gripper critic's.

    Both are of the whole return, each by its own part of the action: it is
    between two actions in one state that they add up.
    """
    agent_critic = self.agent.make_critic(networks.agent)

    def critic(
      state: learning.TrainingState,
      observation: types.NestedArray,
      action: jax.Array,
    ) -> jax.Array:
      encoder = state.agent.params.critic.encoder
      embedding = networks.agent.encoder.apply(encoder, observation)
      values = networks.gripper_critic.apply(state.gripper_params, embedding)
      chosen = gripper.choices(action, self.config.closing)
      motion = agent_critic(state.agent, observation, action[..., :-1])
      return motion + rlax.batched_index(values, chosen)

    return critic

  def make_tables(self) -> Sequence[builder.TableSpec]:
    """Returns the agent's tables."""
    return self.agent.make_tables()

  def batch_spec(self) -> builder.BatchSpec:
    """Returns the shape of one round's batch, the agent's."""
    spec = self.agent.batch_spec()
    needs = spec.needs_demonstrations or self.config.margin > 0
    return dataclasses.replace(spec, needs_demonstrations=needs)

  def describe(self) -> Mapping[str, Any]:
    """Returns both configurations as plain data."""
    fields = dataclasses.asdict(self.config)
    if self.config.gripper_range is not None:
      fields['gripper_range'] = list(self.config.gripper_range)
    return {'agent': 'hybrid', **fields, 'wraps': self.agent.describe()}
