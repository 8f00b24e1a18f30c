"""The tasks on the real arm, by name or in a file that somebody wrote."""

import os
import runpy

from serl.environments.franka import config as config_lib
from serl.environments.franka.tasks import bins_relocate
from serl.environments.franka.tasks import cable_route
from serl.environments.franka.tasks import pcb_insert
from serl.environments.franka.tasks import peg_insert

TASKS = {
  'peg_insert': peg_insert.VISION,
  'peg_insert_state': peg_insert.STATE,
  'pcb_insert': pcb_insert.VISION,
  'pcb_insert_state': pcb_insert.STATE,
  'cable_route': cable_route.VISION,
  'cable_route_state': cable_route.STATE,
  'bins_forward': bins_relocate.FORWARD,
  'bins_forward_state': bins_relocate.FORWARD_STATE,
  'bins_backward': bins_relocate.BACKWARD,
  'bins_backward_state': bins_relocate.BACKWARD_STATE,
}


def load(name: str | os.PathLike) -> config_lib.Config:
  """Returns the config of a task.

  Args:
    name: one of `TASKS`, or the path of a Python file that defines CONFIG; the
      file is run.

  Raises:
    ValueError: it is neither.
  """
  name = os.fspath(name)
  if name in TASKS:
    return TASKS[name]
  if not name.endswith('.py'):
    raise ValueError(
      f'Unknown task {name!r}; expected one of {", ".join(sorted(TASKS))}, or '
      'the path of a Python file that defines CONFIG.'
    )
  config = runpy.run_path(name).get('CONFIG')
  if not isinstance(config, config_lib.Config):
    raise ValueError(
      f'{name} defines CONFIG={config!r}; expected a '
      'serl.environments.franka.config.Config.'
    )
  return config
