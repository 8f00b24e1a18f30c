"""The simulated tasks by name."""

from collections.abc import Callable
import dataclasses

import dm_env

from serl.environments.sim import pick_cube


def _pick_cube_vision(
  seed: int, image_size: int = pick_cube.VISION.image_size
) -> dm_env.Environment:
  config = dataclasses.replace(pick_cube.VISION, image_size=image_size)
  return pick_cube.make_vision(seed, config)


def _peg_insert(seed: int) -> dm_env.Environment:
  # The twin loads what serves an arm, which the other tasks do not need.
  from serl.environments.sim import peg_insert

  return peg_insert.make(seed)


def _peg_insert_vision(
  seed: int, image_size: int | None = None
) -> dm_env.Environment:
  from serl.environments.sim import peg_insert

  config = peg_insert.VISION
  if image_size is not None:
    task = dataclasses.replace(config.task, image_size=image_size)
    config = dataclasses.replace(config, task=task)
  return peg_insert.make_vision(seed, config)


# Each takes a seed; those in VISION, which show images, take their size, too.
TASKS: dict[str, Callable[..., dm_env.Environment]] = {
  'pick_cube': pick_cube.make,
  'pick_cube_vision': _pick_cube_vision,
  'peg_insert': _peg_insert,
  'peg_insert_vision': _peg_insert_vision,
}
VISION = ('pick_cube_vision', 'peg_insert_vision')


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
  return TASKS[name](seed, image_size)
