"""SERL's peculiarities, all off by default.

Its code does these beside the published algorithms. With them this code gives
SERL's numbers, which `serl.tools.parity` compares.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from serl import configs
from serl import types


@dataclasses.dataclass(frozen=True)
class SERLQuirks:
  """The peculiarities of an agent."""

  # Draw the target's members with replacement. A member drawn twice makes the
  # target an ordinary, not a least value.
  draw_with_replacement: bool = False
  # Let every update step all three optimisers, with zero gradients for those
  # that it does not train: Adam's momentum then moves the policy during critic
  # updates.
  step_idle_optimisers: bool = False
  # Let all critics share their last layer, as SERL's DrQ does.
  shared_value_head: bool = False
  # Rows that the policy and the temperature learn from: the round's last
  # minibatch, or all of the round's as in SERL, at updates_per_round its cost.
  actor_batch: Literal['last', 'round'] = 'last'

  __post_init__ = configs.check


def policy_rows(
  quirks: SERLQuirks, batch: types.NestedArray
) -> types.NestedArray:
  """Returns the rows [N, ...] of a round [updates, B, ...] for the policy."""
  if quirks.actor_batch == 'round':
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
  return jax.tree.map(lambda x: x[-1], batch)


def all_gradients(
  quirks: SERLQuirks, gradients: Mapping[str, Any], params: Any
) -> Mapping[str, Any]:
  """Returns the gradients that optimisers are stepped with, by name.

  Args:
    quirks: the agent's.
    gradients: of the parameters that an update trains.
    params: a NamedTuple of all trained parameters.
  """
  if not quirks.step_idle_optimisers:
    return gradients
  idle = jax.tree.map(jnp.zeros_like, params)
  return {**idle._asdict(), **gradients}
