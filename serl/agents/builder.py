"""The contract between an agent and the programs that run it.

An agent is a builder of pure pieces. It knows nothing of environments, replay
systems or processes; the programs know nothing of losses.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import (
  Annotated,
  Any,
  Literal,
  NamedTuple,
  Protocol,
  runtime_checkable,
)

from serl import configs
from serl import core
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
# The name of demonstrations where there is one source of them.
DEMONSTRATIONS = 'demonstrations'

# The metric of `Algorithm.update` that prioritised tables are told.
TD_ERROR = 'td_error'


@dataclasses.dataclass(frozen=True)
class Uniform:
  """Draws each transition of a table with the same probability."""


@dataclasses.dataclass(frozen=True)
class Prioritised:
  """Draws a transition the more often the larger its TD error was.

  Schaul et al. 2016 (arXiv 1511.05952), sections 3.3 and 3.4. A new transition
  has the largest priority that the table has had. The agent's `update` has to
  return TD errors, see `Algorithm`.
  """

  # Of the TD error's size, to give the probability; 0 draws uniformly.
  exponent: configs.Fraction = 0.6
  # Of the inverse probability, to give the weight that corrects the bias: 1
  # corrects all of it, 0 none.
  importance_exponent: configs.Fraction = 0.4

  __post_init__ = configs.check


@dataclasses.dataclass(frozen=True)
class TableSpec:
  """A replay table as data."""

  name: configs.Word
  max_size: configs.Count  # transitions
  min_size: configs.Count  # transitions that must be in before any is sampled
  # Of each minibatch, that is drawn from this table.
  fraction: Annotated[float, configs.Bounds(0, 1, '(]')] = 1.0
  # What fills it: ONLINE (the actors), GOALS, or the name of demonstrations,
  # which `RunConfig.demonstrations` has.
  source: configs.Word = ONLINE
  sampler: Uniform | Prioritised = Uniform()
  # Which transition goes where there is one too many: the oldest ('fifo'), the
  # newest ('lifo', so that the first ones stay), one at random ('uniform') or
  # that of the lowest priority, which a `Prioritised` sampler has.
  remover: Literal['fifo', 'lifo', 'uniform', 'lowest_priority'] = 'fifo'
  # Transitions that the learner draws for each that was inserted after
  # `min_size`, at most; None for as many as the run's updates need. The learner
  # waits, never an actor.
  samples_per_insert: configs.Positive | None = None
  # Steps that a transition spans; see `BatchSpec.discount`. Fewer at the end of
  # an episode, which bootstraps there unless the task terminated.
  n_step: configs.Count = 1
  # Whether a transition may span steps of the policy and of a person who
  # intervened.
  crosses_interventions: bool = False
  # Of a table of demonstrations, whether the steps go there, too, in which a
  # person intervened in the run.
  takes_interventions: bool = True
  # (this spec, signature) -> the `reverb.Table` of this name, for what the
  # fields do not say; called in the process of the server. The signature has
  # tensor specs by the names of columns. `max_size`, `remover` and the
  # selector are then the table's, and it must never hold up an insert.
  make_table: Callable[['TableSpec', Mapping[str, Any]], Any] | None = None

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    configs.check(self)
    configs.demand(
      self,
      (
        'min_size',
        self.min_size <= self.max_size,
        f'at most max_size, {self.max_size}: the table holds no more',
      ),
      (
        'remover',
        self.remover != 'lowest_priority' or self.is_prioritised,
        'another one, or the sampler Prioritised(), which sets priorities',
      ),
      (
        'samples_per_insert',
        self.samples_per_insert is None or self.source == ONLINE,
        f'None where {self.source!r} fills the table, not the actors: once its '
        'samples are drawn, nothing would be learned any more',
      ),
    )

  @property
  def is_demonstrated(self) -> bool:
    """Whether demonstrations fill it."""
    return self.source not in _OTHERS

  @property
  def is_prioritised(self) -> bool:
    """Whether TD errors are written back to it."""
    return isinstance(self.sampler, Prioritised)

  def describe(self) -> Mapping[str, Any]:
    """Returns the table as plain data, to tell two runs apart."""
    made_by = self.make_table
    sampler = dataclasses.asdict(self.sampler)
    return {
      **dataclasses.asdict(dataclasses.replace(self, make_table=None)),
      'sampler': {'kind': type(self.sampler).__name__, **sampler},
      'make_table': made_by and f'{made_by.__module__}.{made_by.__qualname__}',
    }


@dataclasses.dataclass(frozen=True)
class BatchSpec:
  """What one learner round consumes: [updates_per_round, batch_size, ...]."""

  updates_per_round: configs.Count
  batch_size: configs.Size
  # Whether the learning rule needs demonstrated rows; see `demonstrated`.
  needs_demonstrations: bool = False
  # The agent's own, beside the environment's. A transition of several steps has
  # the discounted sum of their rewards, and a discount that has the agent's for
  # all but one of them, by which the agent multiplies. None for an agent that
  # takes no such transitions.
  discount: configs.Fraction | None = None

  __post_init__ = configs.check


def check_tables(
  tables: Sequence[TableSpec], batch_spec: BatchSpec
) -> tuple[TableSpec, ...]:
  """Returns tables that a builder may put together.

  Each builder that adds tables to another one's returns them through this.

  Args:
    tables: of which each minibatch has its share.
    batch_spec: of the same builder.

  Raises:
    ValueError: two have the same name, one gives no whole rows of a minibatch,
      they do not sum up to it, or one has transitions of several steps, which
      the agent does not take.
  """
  names = [table.name for table in tables]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(
      f'The tables are {names}, expected names that differ: {twice} stands '
      'there more than once. Give one of them another name; around RLPDBuilder '
      'that is RLPDConfig.source.'
    )
  shares(tables, batch_spec.batch_size)
  for table in tables:
    if table.n_step > 1 and batch_spec.discount is None:
      raise ValueError(
        f'The table {table.name!r} has n_step {table.n_step}, expected 1: the '
        "agent's batch_spec() has no discount to sum rewards with."
      )
  return tuple(tables)


def shares(tables: Sequence[TableSpec], batch_size: int) -> dict[str, int]:
  """Returns the rows of one minibatch by table; they sum to the batch.

  The mix is exact in every minibatch, not in expectation: with few transitions
  from the demonstrations a lucky draw would be a noisy one.

  Raises:
    ValueError: a fraction does not make whole rows, or they do not sum to one
      minibatch.
  """
  rows = {table.name: table.fraction * batch_size for table in tables}
  counted = {name: round(share) for name, share in rows.items()}
  broken = [
    f'fraction {table.fraction} of table {table.name!r} is '
    f'{rows[table.name]:g} rows'
    for table in tables
    if abs(rows[table.name] - counted[table.name]) > 1e-6
    or counted[table.name] < 1
  ]
  if broken:
    raise ValueError(
      f'batch_size {batch_size} gives no whole rows: {", ".join(broken)}; '
      'expected whole numbers of at least 1. Change batch_size or the '
      'fractions (of RLPDBuilder, demonstration_fraction).'
    )
  if sum(counted.values()) != batch_size:
    raise ValueError(
      f'The fractions of the tables give the rows {counted}, which does not '
      f'sum to the batch size {batch_size}.'
    )
  return counted


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


@runtime_checkable
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


@runtime_checkable
class CriticBuilder(Builder, Protocol, metaclass=core.Capability):
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
