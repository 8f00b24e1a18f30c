"""The tasks on the real arm, by name or in a file that somebody wrote."""

import os
import runpy

from serl.environments.franka import config as config_lib
from serl.environments.franka.tasks import peg_insert

TASKS = {
  'peg_insert': peg_insert.VISION,
  'peg_insert_state': peg_insert.STATE,
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
