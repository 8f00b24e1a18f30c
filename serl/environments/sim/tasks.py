"""The simulated tasks by name."""

from collections.abc import Callable

import dm_env

from serl.environments.sim import pick_cube

# Each takes a seed.
TASKS: dict[str, Callable[[int], dm_env.Environment]] = {
  'pick_cube': pick_cube.make,
}


def make(name: str, seed: int = 0) -> dm_env.Environment:
  """Returns the environment of a task.

  Args:
    name: one of `TASKS`.
    seed: of its random starts.

  Raises:
    ValueError: if there is no such task.
  """
  if name not in TASKS:
    raise ValueError(
      f'Unknown task {name!r}; expected one of {", ".join(sorted(TASKS))}.'
    )
  return TASKS[name](seed)
