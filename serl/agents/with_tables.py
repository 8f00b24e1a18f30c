"""Another builder's pieces, with other tables."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from serl import configs
from serl import specs
from serl import types
from serl.agents import builder as agent_builder


class Wrapper:
  """Builds what the builder that is its attribute `builder` does."""

  builder: agent_builder.Builder

  def __post_init__(self):
    """Checks that the tables go together.

    Raises:
      ValueError: see `builder.check_tables`; or the wrapped builder has a table
        of goals.
    """
    configs.check(self)
    tables = self.builder.make_tables()
    if any(table.source == agent_builder.GOALS for table in tables):
      raise ValueError(
        f'{type(self).__name__} is around VICEBuilder, expected the other way '
        'round: the goals are the last rows of a minibatch.'
      )
    self.make_tables()

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

  def batch_spec(self) -> agent_builder.BatchSpec:
    """Returns the wrapped builder's batch: its size does not change."""
    return self.builder.batch_spec()


@dataclasses.dataclass(frozen=True)
class WithTables(Wrapper):
  """An agent that draws from other tables than its builder's.

  They are all of its tables: `dataclasses.replace` changes one of the wrapped
  builder's `make_tables()`.
  """

  builder: agent_builder.Builder
  tables: Sequence[agent_builder.TableSpec]

  def make_tables(self) -> Sequence[agent_builder.TableSpec]:
    """Returns the given tables."""
    return agent_builder.check_tables(self.tables, self.batch_spec())

  def pieces(
    self, episode: types.Episode
  ) -> Mapping[str, Sequence[types.Episode]]:
    """Returns what the wrapped builder has for tables of these names.

    Of an agent that learns offline; its other tables get the whole episode.
    """
    own = self.builder.pieces(episode)
    return {table.name: own.get(table.name, [episode]) for table in self.tables}

  def make_measure(
    self, networks: Any
  ) -> Callable[[Any, types.Transition], types.Metrics]:
    """Returns the wrapped builder's, of an agent that learns offline."""
    return self.builder.make_measure(networks)

  def describe(self) -> Mapping[str, Any]:
    """Returns the tables and the wrapped configuration as plain data."""
    return {
      'agent': 'with_tables',
      'tables': [table.describe() for table in self.tables],
      'wraps': self.builder.describe(),
    }
