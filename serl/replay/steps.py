"""Which steps of an episode go into which tables, and as what."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tree

from serl import types
from serl.agents import builder

# Names of tables that get every step; or by name, which steps, bool [T].
Tables = Sequence[str] | Mapping[str, np.ndarray]


def by_table(tables: Tables, length: int) -> dict[str, np.ndarray]:
  """Returns which of an episode's steps each table gets, bool [length].

  Raises:
    ValueError: what is given for a table is not that.
  """
  if not isinstance(tables, Mapping):
    return {name: np.ones(length, bool) for name in tables}
  for name, chosen in tables.items():
    if np.shape(chosen) != (length,) or np.asarray(chosen).dtype != bool:
      raise ValueError(
        f'For the table {name!r} the steps are {chosen!r}; expected bool '
        f'[{length}], one for each step of the episode.'
      )
  return dict(tables)


class Span(NamedTuple):
  """How far transitions reach."""

  n_step: int = 1
  # Whether over the border between the policy's steps and a person's.
  crosses_interventions: bool = False


ONE = Span()


def span_of(table: builder.TableSpec) -> Span:
  """Returns how far the transitions of a table reach."""
  if table.n_step == 1:
    return ONE
  return Span(table.n_step, table.crosses_interventions)


class Spanning(NamedTuple):
  """The transitions that begin at the T steps of an episode."""

  length: np.ndarray  # [T] steps that each spans, from 1 to n_step
  reward: np.ndarray  # [T] float32
  discount: np.ndarray  # [T] float32


def spanning(
  episode: types.Episode, span: Span, discount: float | None
) -> Spanning:
  """Returns the transitions of up to `span.n_step` steps of an episode.

  The n-step return, Sutton and Barto 2018, eq. 7.1. A transition that begins at
  step t and spans n of them leads to observation t + n. With the agent's
  discount g and the environment's d its reward is the sum over i < n of
  g^i d[t] ... d[t + i - 1] reward[t + i], and its discount
  g^(n - 1) d[t] ... d[t + n - 1], which the agent multiplies by g once more.
  It spans fewer steps where the task terminates or the episode ends.

  Args:
    episode: of T steps; whether a person acted is its extra
      `types.INTERVENED`, nobody did where it has none.
    span: how far they reach.
    discount: the agent's own; None if a transition spans one step.
  """
  length = np.ones(episode.length, int)
  reward = np.asarray(episode.reward, float).copy()
  product = np.asarray(episode.discount, float).copy()  # of the environment's
  own = 1.0
  follows = _follows(episode, span.crosses_interventions)
  begins = np.arange(episode.length)  # those that reach on after n steps
  for n in range(1, min(span.n_step, episode.length)):
    begins = begins[follows[begins + n - 1]]
    own *= discount
    reward[begins] += own * product[begins] * episode.reward[begins + n]
    product[begins] *= episode.discount[begins + n]
    length[begins] += 1
  scale = np.power(1.0 if discount is None else discount, length - 1)
  return Spanning(
    length, reward.astype(np.float32), (scale * product).astype(np.float32)
  )


def _follows(episode: types.Episode, crosses: bool) -> np.ndarray:
  """Returns from which steps a transition may reach on, bool [T]."""
  follows = np.asarray(episode.discount) > 0
  follows[-1] = False
  if not crosses and types.INTERVENED in episode.extras:
    by_person = np.asarray(episode.extras[types.INTERVENED], bool)
    follows[:-1] &= by_person[1:] == by_person[:-1]
  return follows


def pieces(
  episode: types.Episode, chosen: np.ndarray
) -> Iterator[tuple[int, types.Episode]]:
  """Yields the runs of consecutive chosen steps as episodes; copies nothing.

  Each comes with the number of its first step.

  Args:
    episode: of T steps.
    chosen: which of them, bool [T].
  """
  edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen, [0]))))
  for begin, end in edges.reshape(-1, 2):
    cut = lambda column, b=begin, e=end: column[b:e]
    yield (
      int(begin),
      types.Episode(
        observation=tree.map_structure(
          lambda column, b=begin, e=end: column[b : e + 1], episode.observation
        ),
        action=tree.map_structure(cut, episode.action),
        reward=cut(episode.reward),
        discount=cut(episode.discount),
        extras=tree.map_structure(cut, dict(episode.extras)),
      ),
    )
