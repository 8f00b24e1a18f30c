"""The simulated tasks by name."""

from collections.abc import Callable
import dataclasses

import dm_env

from serl.environments.sim import pick_cube

# Each takes a seed, and a config.
TASKS: dict[str, Callable[..., dm_env.Environment]] = {
  'pick_cube': pick_cube.make,
  'pick_cube_vision': pick_cube.make_vision,
}

# The configs of those that show images.
VISION = {'pick_cube_vision': pick_cube.VISION}


def make(
  name: str, seed: int = 0, image_size: int | None = None
) -> dm_env.Environment:
  """Returns the environment of a task.

  Args:
    name: one of `TASKS`.
    seed: of its random starts.
    image_size: of a task in `VISION`, pixels; by default that of its config.

  Raises:
    ValueError: if there is no such task, or no image of this size.
  """
  if name not in TASKS:
    raise ValueError(
      f'Unknown task {name!r}; expected one of {", ".join(sorted(TASKS))}.'
    )
  if image_size is None:
    return TASKS[name](seed)
  if name not in VISION:
    raise ValueError(
      f'The task {name!r} shows no images to give a size; expected one of '
      f'{", ".join(sorted(VISION))}.'
    )
  config = dataclasses.replace(VISION[name], image_size=image_size)
  return TASKS[name](seed, config)
