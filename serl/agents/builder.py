"""The contract between an agent and the programs that run it.

An agent is a builder of pure pieces. It knows nothing of environments, replay
systems or processes; the programs know nothing of losses.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple, Protocol

from serl import specs
from serl import types

# (params, key, observation) -> action, for one observation without a batch
# axis. `params` is what `Builder.policy_params` returned.
Policy = Callable[
  [types.Params, types.PRNGKey, types.NestedArray], types.NestedArray
]

# (TrainingState, observation [B, ...], action [B, ...]) -> the return [B] that
# it estimates.
Critic = Callable[[Any, types.NestedArray, types.NestedArray], Any]


class Algorithm(NamedTuple):
  """A pure learning rule. Both functions can be jitted.

  init: key -> TrainingState, a NamedTuple of arrays only.
  update: (TrainingState, Batch) -> (TrainingState, Metrics). The batch has the
    leading axes [updates_per_round, batch_size]; one call does a whole round.
  """

  init: Callable[[types.PRNGKey], Any]
  update: Callable[[Any, types.Batch], tuple[Any, types.Metrics]]


# Sources that are no demonstrations, by their indices in `types.Batch.source`.
ONLINE, GOALS = 'online', 'goals'
_OTHERS = (ONLINE, GOALS)


@dataclasses.dataclass(frozen=True)
class TableSpec:
  """A replay table as data."""

  name: str
  max_size: int  # transitions; the oldest go first
  min_size: int  # transitions that must be in before any is sampled
  fraction: float = 1.0  # of each minibatch that is drawn from this table
  # What fills it: ONLINE (the actors), GOALS, or the name of demonstrations.
  source: str = ONLINE

  @property
  def is_demonstrated(self) -> bool:
    """Whether demonstrations fill it."""
    return self.source not in _OTHERS


def sources(tables: Sequence[TableSpec]) -> tuple[str, ...]:
  """Returns the names that the column `source` of a batch counts.

  They are ONLINE, GOALS and the demonstrations of `tables`, in their order.
  What wraps a builder adds its tables behind those of the builder, so that a
  source keeps its index.
  """
  shown = (table.source for table in tables if table.is_demonstrated)
  return (*_OTHERS, *dict.fromkeys(shown))


def demonstrated(batch: types.Batch) -> Any:
  """Returns which rows of a batch were demonstrated, bool [...]."""
  return batch.source >= len(_OTHERS)


@dataclasses.dataclass(frozen=True)
class BatchSpec:
  """What one learner round consumes: [updates_per_round, batch_size, ...]."""

  updates_per_round: int
  batch_size: int
  # Whether the learning rule needs demonstrated rows; see `demonstrated`.
  needs_demonstrations: bool = False


class Builder(Protocol):
  """Builds the pure pieces of an agent."""

  def make_networks(self, spec: specs.EnvironmentSpec) -> Any:
    """Returns a dataclass of pure init and apply functions."""

  def make_algorithm(self, networks: Any) -> Algorithm:
    """Returns the learning rule."""

  def make_policy(self, networks: Any, evaluation: bool = False) -> Policy:
    """Returns the policy that explores, or the one to evaluate."""

  def policy_params(self, state: Any) -> types.Params:
    """Returns the part of a TrainingState that an actor needs."""

  def make_tables(self) -> Sequence[TableSpec]:
    """Returns the tables that the minibatches are drawn from."""

  def batch_spec(self) -> BatchSpec:
    """Returns the shape of the batch of one round."""

  def describe(self) -> Mapping[str, Any]:
    """Returns the configuration as plain data, to tell two runs apart."""


class CriticBuilder(Builder, Protocol):
  """Builds an agent that estimates what actions are worth."""

  def make_critic(self, networks: Any) -> Critic:
    """Returns a pure function that compares actions by their returns."""


class OfflineBuilder(Builder, Protocol):
  """Builds an agent that learns from recorded episodes alone.

  All of its tables are filled by demonstrations.
  """

  def pieces(
    self, episode: types.Episode
  ) -> Mapping[str, Sequence[types.Episode]]:
    """Returns what of an episode goes into each table, by its name."""

  def make_measure(
    self, networks: Any
  ) -> Callable[[Any, types.Transition], types.Metrics]:
    """Returns what tells how well the agent does on recorded steps.

    A pure function: TrainingState, Transition [B, ...] -> values [B] by name.
    """
