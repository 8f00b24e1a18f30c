"""Wraps any agent's builder: minibatches hold demonstrations, too."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from serl.agents import builder as agent_builder
from serl.agents import with_tables
from serl.agents.rlpd import config as rlpd_config


@dataclasses.dataclass(frozen=True)
class RLPDBuilder(with_tables.Wrapper):
  """Symmetric sampling, Ball et al. 2023 (arXiv 2302.02948), section 4.1.

  The learning rule is the wrapped builder's; only the tables differ.
  """

  builder: agent_builder.Builder
  config: rlpd_config.RLPDConfig = dataclasses.field(
    default_factory=rlpd_config.RLPDConfig
  )

  def make_tables(self) -> Sequence[agent_builder.TableSpec]:
    """Returns the wrapped builder's tables and that of the demonstrations."""
    fraction = self.config.demonstration_fraction
    tables = self.builder.make_tables()
    rescaled = (
      dataclasses.replace(table, fraction=table.fraction * (1 - fraction))
      for table in tables
    )
    demonstrations = agent_builder.TableSpec(
      name=self.config.source,
      max_size=self.config.max_demonstrations,
      min_size=1,
      fraction=fraction,
      source=self.config.source,
      n_step=tables[0].n_step,
      crosses_interventions=tables[0].crosses_interventions,
    )
    return agent_builder.check_tables(
      (*rescaled, demonstrations), self.batch_spec()
    )

  def describe(self) -> Mapping[str, Any]:
    """Returns both configurations as plain data."""
    return {
      'agent': 'rlpd',
      **dataclasses.asdict(self.config),
      'wraps': self.builder.describe(),
    }
