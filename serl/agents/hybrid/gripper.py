"""What an action asks of the gripper, and whether it is closed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types
from serl.agents.hybrid import config as hybrid_config

# The choices, by their places among the gripper critic's values.
CHOICES = ('close', 'stay', 'open')
CLOSE, STAY, OPEN = range(len(CHOICES))

# observation [B, ...] -> whether the gripper is closed, [B] bool
IsClosed = Callable[[types.NestedArray], jax.Array]


def choices(actions: jax.Array, closing: float) -> jax.Array:
  """Returns what actions [..., A] choose for the gripper, their last entry.

  Args:
    actions: of the environment, whoever chose them.
    closing: see `HybridConfig`.

  Returns:
    places in `CHOICES`, [...] int32.
  """
  asked = actions[..., -1] / closing
  return jnp.where(asked >= 1, CLOSE, jnp.where(asked <= -1, OPEN, STAY))


def entries(chosen: jax.Array, closing: float) -> jax.Array:
  """Returns the last entries [...] float32 of actions that choose `chosen`."""
  return (int(np.sign(closing)) * (STAY - chosen)).astype(jnp.float32)


def switches(chosen: jax.Array, closed: jax.Array) -> jax.Array:
  """Returns whether choices change the gripper, [...] bool.

  Args:
    chosen: places in `CHOICES`, [...].
    closed: whether the gripper is closed when that is chosen, [...] bool.
  """
  return jnp.where(closed, chosen == OPEN, chosen == CLOSE)


def make_is_closed(
  observation_spec: types.NestedSpec, config: hybrid_config.HybridConfig
) -> IsClosed:
  """Makes the function that tells from an observation if the gripper is closed.

  Raises:
    ValueError: the gripper is not observed as one number, or nothing tells what
      is read when it is open and closed.
  """
  path = config.gripper_observation
  leaves = specs.flatten(observation_spec)
  if path not in leaves or leaves[path].shape != (1,):
    shapes = {name: list(leaf.shape) for name, leaf in leaves.items()}
    raise ValueError(
      f'HybridConfig.gripper_observation is {path!r}, expected the name of an '
      f'array [1] among the observations {shapes}.'
    )
  opened, closed = config.gripper_range or _bounds(leaves[path], path)

  def is_closed(observation: types.NestedArray) -> jax.Array:
    position = specs.flatten(observation)[path][..., 0]
    return (position - opened) / (closed - opened) >= config.closed_from

  return is_closed


def _bounds(leaf: specs.Array, path: str) -> tuple[float, float]:
  if isinstance(leaf, specs.BoundedArray):
    minimum, maximum = (
      float(np.broadcast_to(bound, (1,))[0])
      for bound in (leaf.minimum, leaf.maximum)
    )
    if np.isfinite([minimum, maximum]).all() and minimum < maximum:
      return minimum, maximum
  raise ValueError(
    f'The spec of the observation {path!r} is {leaf}, expected finite bounds: '
    'give HybridConfig.gripper_range, the readings when open and when closed.'
  )
