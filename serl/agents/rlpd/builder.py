"""Wraps any agent's builder: minibatches hold demonstrations, too."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from serl import specs
from serl import types
from serl.agents import builder as agent_builder
from serl.agents.rlpd import config as rlpd_config


@dataclasses.dataclass(frozen=True)
class RLPDBuilder:
  """Symmetric sampling, Ball et al. 2023 (arXiv 2302.02948), section 4.1.

  The learning rule is the wrapped builder's; only the tables differ.
  """

  builder: agent_builder.Builder
  config: rlpd_config.RLPDConfig = dataclasses.field(
    default_factory=rlpd_config.RLPDConfig
  )

  def __post_init__(self):
    """Checks that each table gives whole rows of every minibatch.

    Raises:
      ValueError: if a table's fraction of the batch is not a whole number, or
        the wrapped builder has a table of goals.
    """
    if any(table.source == 'goals' for table in self.builder.make_tables()):
      raise ValueError(
        'RLPDBuilder is around VICEBuilder, expected the other way round: the '
        'goals are the last rows of a minibatch.'
      )
    batch_size = self.builder.batch_spec().batch_size
    for table in reversed(self.make_tables()):
      rows = batch_size * table.fraction
      if abs(rows - round(rows)) > 1e-6:
        raise ValueError(
          f'batch_size {batch_size} times the fraction {table.fraction} of '
          f'table {table.name!r} is {rows:g} rows, expected a whole number: '
          'change batch_size or demonstration_fraction.'
        )

  def make_networks(self, spec: specs.EnvironmentSpec) -> Any:
    """Returns the wrapped builder's networks."""
    return self.builder.make_networks(spec)

  def make_algorithm(self, networks: Any) -> agent_builder.Algorithm:
    """Returns the wrapped builder's learning rule."""
    return self.builder.make_algorithm(networks)

  def make_policy(
    self, networks: Any, evaluation: bool = False
  ) -> agent_builder.Policy:
    """Returns the wrapped builder's policy."""
    return self.builder.make_policy(networks, evaluation)

  def policy_params(self, state: Any) -> types.Params:
    """Returns the part of the wrapped builder's state that an actor needs."""
    return self.builder.policy_params(state)

  def make_critic(self, networks: Any) -> agent_builder.Critic:
    """Returns the wrapped builder's."""
    return self.builder.make_critic(networks)

  def make_tables(self) -> Sequence[agent_builder.TableSpec]:
    """Returns the wrapped builder's tables and that of the demonstrations."""
    fraction = self.config.demonstration_fraction
    rescaled = (
      dataclasses.replace(table, fraction=table.fraction * (1 - fraction))
      for table in self.builder.make_tables()
    )
    demonstrations = agent_builder.TableSpec(
      name='demonstrations',
      max_size=self.config.max_demonstrations,
      min_size=1,
      fraction=fraction,
      source='demonstrations',
    )
    return (*rescaled, demonstrations)

  def batch_spec(self) -> agent_builder.BatchSpec:
    """Returns the wrapped builder's batch: its size does not change."""
    return self.builder.batch_spec()

  def describe(self) -> Mapping[str, Any]:
    """Returns both configurations as plain data."""
    return {
      'agent': 'rlpd',
      **dataclasses.asdict(self.config),
      'wraps': self.builder.describe(),
    }
