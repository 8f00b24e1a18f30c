"""Types that every room shares. They carry arrays and import nothing heavy."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

# A tree (dict, tuple, NamedTuple) whose leaves are arrays.
NestedArray = Any
# A tree whose leaves are `dm_env.specs.Array`.
NestedSpec = Any
# A tree of network parameters.
Params = Any
# A JAX random key. One key, one use.
PRNGKey = Any
# Scalars by name, for the loggers.
Metrics = Mapping[str, Any]


# The column of an episode's extras that has the steps in which a person acted.
INTERVENED = 'intervened'


class Transition(NamedTuple):
  """One step of experience, or a batch of them with leading axes [...].

  `discount` is the environment's, as in dm_env: 0 where the task terminated and
  1 everywhere else, a time limit included. The agent multiplies it by its own.
  A transition of several steps, see `agents.builder.TableSpec.n_step`, has the
  discounted sum of their rewards, the product of all their discounts and of the
  agent's own but one, and the observation after the last of them.
  """

  observation: NestedArray  # [..., *observation_spec]
  action: NestedArray  # [..., *action_spec]
  reward: NestedArray  # [...] float32
  discount: NestedArray  # [...] float32, in [0, 1]
  next_observation: NestedArray  # [..., *observation_spec]


class Batch(NamedTuple):
  """Transitions with leading axes [...], as a learner draws them from a replay.

  The fields of `Transition`, then where each was drawn from.
  """

  observation: NestedArray  # [..., *observation_spec]
  action: NestedArray  # [..., *action_spec]
  reward: NestedArray  # [...] float32
  discount: NestedArray  # [...] float32, in [0, 1]
  next_observation: NestedArray  # [..., *observation_spec]
  # [...] int32, an index into the sources of the builder's tables
  source: NestedArray
  # [...] float32, by how much its error counts; 1 where sampling is uniform
  weight: NestedArray
  # [..., 2] uint32, names the item for the replay that it was drawn from
  key: NestedArray

  @classmethod
  def uniform(cls, transition: Transition, source: int = 0) -> 'Batch':
    """Returns transitions as if drawn uniformly from one source.

    Args:
      transition: with leading axes [...], those of its rewards.
      source: an index, see `source`.
    """
    shape = np.shape(transition.reward)
    return cls(
      *transition,
      source=np.full(shape, source, np.int32),
      weight=np.ones(shape, np.float32),
      key=np.zeros((*shape, 2), np.uint32),
    )


class Episode(NamedTuple):
  """One episode of T steps as columns; what is stored, logged and inserted.

  Step t acted with `action[t]` on `observation[t]` and got `reward[t]`,
  `discount[t]` and `observation[t + 1]`. Each observation stands once.
  """

  observation: NestedArray  # [T + 1, *observation_spec]
  action: NestedArray  # [T, *action_spec]
  reward: NestedArray  # [T] float32
  discount: NestedArray  # [T] float32, in [0, 1]
  # Columns [T, ...] that training does not read: times, who acted.
  extras: Mapping[str, Any] = {}

  @property
  def length(self) -> int:
    """The number of steps, T."""
    return len(self.reward)
