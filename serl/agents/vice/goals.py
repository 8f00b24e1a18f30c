"""Goals out of demonstrations."""

import jax

from serl import types


def last_steps(episode: types.Episode, count: int) -> types.Episode:
  """Returns the last `count` steps of an episode that ends at the goal.

  Raises:
    ValueError: the episode has fewer steps, or none were asked for.
  """
  if not 1 <= count <= episode.length:
    raise ValueError(
      f'The last {count} steps were asked for of an episode of '
      f'{episode.length}; expected at least 1 and no more than it has.'
    )
  begin = episode.length - count
  # Copies: of what is left out nothing stays in memory.
  return jax.tree.map(lambda column: column[begin:].copy(), episode)
