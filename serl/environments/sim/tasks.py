"""The simulated tasks by name."""

from collections.abc import Callable
import dataclasses
import functools
import importlib

import dm_env

from serl.environments.sim import pick_cube
from serl.environments.wrappers import reward_camera


def _pick_cube_vision(
  seed: int, image_size: int = pick_cube.VISION.image_size
) -> dm_env.Environment:
  config = dataclasses.replace(pick_cube.VISION, image_size=image_size)
  return pick_cube.make_vision(seed, config)


def _on_twin(
  module: str,
  scene: str,
  task: str,
  seed: int,
  image_size: int | None = None,
  for_policy: bool = True,
) -> dm_env.Environment:
  """Returns a real arm's task on the twin.

  Args:
    module: of this package, that simulates it.
    scene: the name of the config there.
    task: the name of the real one's config.
    seed, image_size, for_policy: see `make`.
  """
  # The twin loads what serves an arm, which the other tasks do not need.
  from serl.environments.franka import tasks

  simulated = importlib.import_module(f'{__package__}.{module}')
  config = tasks.load(task)
  if image_size is not None:
    config = dataclasses.replace(config, image_size=image_size)
  scene_config = dataclasses.replace(getattr(simulated, scene), task=config)
  environment = simulated.make(seed, scene_config, rewards=for_policy)
  if not for_policy:
    return environment
  return reward_camera.RewardCamera(environment, config.reward_cameras)


_peg = functools.partial(_on_twin, 'insertion', 'PEG')
_pcb = functools.partial(_on_twin, 'insertion', 'PCB')
_cable = functools.partial(_on_twin, 'cable_route', 'STATE')
_bins = functools.partial(_on_twin, 'bins_relocate', 'FORWARD')

# Each takes a seed; those in VISION, which show images, take their size, too.
TASKS: dict[str, Callable[..., dm_env.Environment]] = {
  'pick_cube': pick_cube.make,
  'pick_cube_vision': _pick_cube_vision,
  'peg_insert': functools.partial(_peg, 'peg_insert_state'),
  'peg_insert_vision': functools.partial(_peg, 'peg_insert'),
  'pcb_insert': functools.partial(_pcb, 'pcb_insert_state'),
  'pcb_insert_vision': functools.partial(_pcb, 'pcb_insert'),
  'cable_route': functools.partial(_cable, 'cable_route_state'),
  'cable_route_vision': functools.partial(_cable, 'cable_route'),
  'bins_forward': functools.partial(_bins, 'bins_forward_state'),
  'bins_forward_vision': functools.partial(_bins, 'bins_forward'),
  'bins_backward': functools.partial(_bins, 'bins_backward_state'),
  'bins_backward_vision': functools.partial(_bins, 'bins_backward'),
}
VISION = (
  'pick_cube_vision',
  'peg_insert_vision',
  'pcb_insert_vision',
  'cable_route_vision',
  'bins_forward_vision',
  'bins_backward_vision',
)


# Which are a real arm's: a reward may be learned for them.
ON_TWIN = tuple(name for name in TASKS if not name.startswith('pick_cube'))


def make(
  name: str,
  seed: int = 0,
  image_size: int | None = None,
  for_policy: bool = True,
) -> dm_env.Environment:
  """Returns the environment of a task.

  Args:
    name: one of `TASKS`.
    seed: of its random starts.
    image_size: of a task in `VISION`, pixels; by default that of its config.
    for_policy: False is to learn a reward from, in the tasks `ON_TWIN`: success
      is neither rewarded nor an episode's end, and the cameras that are for the
      reward alone are seen, too. In the others success never is an end.

  Raises:
    ValueError: if there is no such task, or no image of this size.
  """
  if name not in TASKS:
    raise ValueError(
      f'Unknown task {name!r}; expected one of {", ".join(sorted(TASKS))}.'
    )
  if image_size is not None and name not in VISION:
    raise ValueError(
      f'The task {name!r} shows no images to give a size; expected one of '
      f'{", ".join(sorted(VISION))}.'
    )
  given = {} if image_size is None else {'image_size': image_size}
  if name in ON_TWIN:
    given['for_policy'] = for_policy
  return TASKS[name](seed, **given)
