"""Wraps any agent's builder: its reward is learned from goals."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from absl import logging

from serl import configs
from serl import specs
from serl import types
from serl.agents import builder as agent_builder
from serl.agents.classifier import networks as classifier_networks
from serl.agents.vice import config as vice_config
from serl.agents.vice import learning


@dataclasses.dataclass(frozen=True)
class VICEBuilder:
  """VICE, Fu et al. 2018 (arXiv 1805.11686), around another agent.

  Neither the environment's reward is used nor, unless
  `VICEConfig.keep_terminations`, the ends of its task. The table of goals holds
  transitions whose next observation is a goal; it stands behind the wrapped
  agent's tables, so that its rows come last in every minibatch.
  """

  builder: agent_builder.Builder
  config: vice_config.VICEConfig = dataclasses.field(
    default_factory=vice_config.VICEConfig
  )

  def __post_init__(self):
    """Checks that the wrapped agent gives the classifier what it needs.

    Raises:
      ValueError: if the agent has fewer updates in a round than the classifier,
        no experience of its own, bounds for the environment's return, or
        transitions of several steps.
    """
    configs.check(self)
    bounds = _find('return_bounds', self.builder.describe())
    if bounds is not None:
      raise ValueError(
        f'return_bounds of the wrapped agent are {bounds}, those of the '
        "environment's reward; expected None, as VICE replaces it."
      )
    if not self._own_rows():
      raise ValueError(
        'No table of the wrapped agent is filled online, but VICE tells goals '
        'from what the agent has seen itself: wrap one that explores.'
      )
    for table in self.make_tables():
      if table.n_step > 1:
        raise ValueError(
          f'The table {table.name!r} has n_step {table.n_step}, expected 1: '
          'VICE rewards single steps.'
        )
    updates = self.builder.batch_spec().updates_per_round
    if self.config.updates_per_round > updates:
      raise ValueError(
        'VICEConfig.updates_per_round is '
        f'{self.config.updates_per_round}, expected at most the {updates} '
        'minibatches of a round of the wrapped agent.'
      )

  def make_networks(self, spec: specs.EnvironmentSpec) -> learning.VICENetworks:
    """Returns the wrapped builder's networks and the classifier's."""
    return learning.VICENetworks(
      agent=self.builder.make_networks(spec),
      classifier=classifier_networks.make_networks(
        spec.observations, self.config.network
      ),
    )

  def make_algorithm(
    self, networks: learning.VICENetworks
  ) -> agent_builder.Algorithm:
    """Returns the learning rule."""
    if self.config.keep_terminations:
      logging.warning(
        'VICEConfig.keep_terminations is True: rewards are at most 0, so that '
        'the end of an episode is worth more than any step. Keep it where the '
        'task ends by success alone; where it ends by failure, the agent '
        'learns to fail soon.'
      )
    return learning.make_algorithm(
      networks,
      self.config,
      self.builder.make_algorithm(networks.agent),
      self.builder.batch_spec(),
      self._own_rows(),
    )

  def make_policy(
    self, networks: learning.VICENetworks, evaluation: bool = False
  ) -> agent_builder.Policy:
    """Returns the wrapped builder's policy."""
    return self.builder.make_policy(networks.agent, evaluation)

  def policy_params(self, state: learning.TrainingState) -> types.Params:
    """Returns the part of the wrapped builder's state that an actor needs."""
    return self.builder.policy_params(state.agent)

  def make_tables(self) -> Sequence[agent_builder.TableSpec]:
    """Returns the wrapped builder's tables and that of the goals."""
    rows = self.builder.batch_spec().batch_size
    all_rows = self.batch_spec().batch_size
    rescaled = (
      dataclasses.replace(table, fraction=table.fraction * rows / all_rows)
      for table in self.builder.make_tables()
    )
    goals = agent_builder.TableSpec(
      name='goals',
      max_size=self.config.max_goals,
      min_size=1,
      fraction=self.config.goals_per_minibatch / all_rows,
      source=agent_builder.GOALS,
    )
    return agent_builder.check_tables((*rescaled, goals), self.batch_spec())

  def batch_spec(self) -> agent_builder.BatchSpec:
    """Returns the wrapped builder's batch with the goals behind its rows."""
    wrapped = self.builder.batch_spec()
    return dataclasses.replace(
      wrapped, batch_size=wrapped.batch_size + self.config.goals_per_minibatch
    )

  def describe(self) -> Mapping[str, Any]:
    """Returns both configurations as plain data."""
    return {
      'agent': 'vice',
      **dataclasses.asdict(self.config),
      'network': self.config.network.describe(),
      'wraps': self.builder.describe(),
    }

  def _own_rows(self) -> list[int]:
    """Returns the rows of a minibatch that the agent has collected itself."""
    rows: list[int] = []
    begin = 0
    for table in self.builder.make_tables():
      end = begin + round(table.fraction * self.builder.batch_spec().batch_size)
      if table.source == agent_builder.ONLINE:
        rows.extend(range(begin, end))
      begin = end
    return rows


def _find(name: str, described: Mapping[str, Any]) -> Any:
  """Returns what is described by a name, however deep; None if nothing is."""
  found = described.get(name)
  for part in described.values():
    if found is None and isinstance(part, Mapping):
      found = _find(name, part)
  return found
