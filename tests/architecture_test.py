"""Who may import whom, read off the syntax tree of every file we ship.

The rules are those of the design; a violation is reported as file, line, import
and the rule that it breaks.
"""

import ast
from collections.abc import Iterator
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

BASE = (
  'serl.types',
  'serl.specs',
  'serl.core',
  'serl.configs',
  'serl.conformance',
)

# A room is a folder or a file of serl/. It may import itself, BASE and what
# stands here (a module opens all that is below it). Nobody may import tools.
MAY_IMPORT = {
  'types': (),
  'specs': (),
  'core': (),
  'configs': (),
  'conformance': (),
  'ops': (),
  # Weights that are pickled are read by the one reader that runs nothing.
  'networks': ('serl.utils.regular_file', 'serl.utils.restricted_pickle'),
  'utils': (),
  'testing': (),
  'agents': ('serl.networks', 'serl.ops', 'serl.utils'),
  # The twin of the arm is served as the arm is.
  'environments': ('robot_server',),
  'environment_loop': ('serl.utils',),
  'teleop': (),
  'replay': ('serl.agents.builder',),
  # The pickles of SERL are opened by the one reader that runs nothing.
  'demos': (
    'serl.environment_loop',
    'serl.replay.adders',
    'serl.utils.regular_file',
    'serl.utils.restricted_pickle',
    'serl.utils.unpacking',
  ),
  # A policy alone, for a program of somebody else's.
  'policies': ('serl.agents', 'serl.utils'),
  'programs': (
    'serl.agents',
    'serl.demos',
    'serl.environment_loop',
    'serl.environments',
    'serl.networks',
    'serl.ops',
    'serl.policies',
    'serl.replay',
    'serl.teleop',
    'serl.testing',
    'serl.utils',
  ),
}
MAY_IMPORT['tools'] = (*MAY_IMPORT['programs'], 'serl.programs')

# Packages that only these modules (and what is below them) may import.
HOMES = {
  'reverb': ('serl.replay',),
  # RLDS is a format of tensorflow-datasets.
  'tensorflow': ('serl.replay', 'serl.demos.rlds'),
  'tensorflow_datasets': ('serl.demos.rlds', 'serl.demos.rlds_fields'),
  'pyarrow': ('serl.demos.lerobot',),
  # Imported when a loss is first computed.
  'rlax': ('serl.ops.lazy_rlax',),
  'distrax': ('serl.ops.lazy_rlax',),
  'launchpad': ('serl.programs.distributed',),
  'wandb': ('serl.utils.loggers',),
  'tensorboardX': ('serl.utils.loggers',),
  'cv2': ('serl.environments.franka',),
  'dm_control': ('serl.environments.adapters',),
  'gymnasium': ('serl.environments.adapters',),
  'pyrealsense2': ('serl.environments.franka',),
  'pyspacemouse': ('serl.teleop',),
  'rospy': ('robot_server',),
}

# What a robot's or a simulation's process has no use for and should not need.
LEARNING = ('jax', 'jaxlib', 'haiku', 'optax', 'rlax', 'chex', 'orbax')


def is_within(module: str, packages: tuple[str, ...]) -> bool:
  return any(
    module == package or module.startswith(package + '.')
    for package in packages
  )


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
  """Yields the line and the full dotted name of each import, lazy ones too."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield node.lineno, alias.name
    elif isinstance(node, ast.ImportFrom):
      module = '.' * node.level + (node.module or '')
      for alias in node.names:
        yield node.lineno, f'{module}.{alias.name}'


def broken_rule(importer: str, imported: str) -> str | None:
  """Returns the rule that `importer` breaks by importing `imported`."""
  if imported.startswith('.'):
    return 'imports are absolute'
  top, _, rest = importer.partition('.')
  if top == 'robot_server' and is_within(imported, ('serl',)):
    return 'robot_server imports nothing of serl: it runs on another computer'
  package = imported.split('.')[0]
  homes = HOMES.get(package)
  if homes and not is_within(importer, homes):
    return f'only {", ".join(homes)} may import {package}'
  room = rest.split('.')[0]
  if room == 'environments' and package in LEARNING:
    return f'environments never import {package}'
  if top != 'serl' or package not in ('serl', 'robot_server'):
    return None
  if not room:
    return 'serl/__init__.py imports nothing'
  if room not in MAY_IMPORT:
    return f'serl/{room} is not in MAY_IMPORT: say there what it may import'
  allowed = (*BASE, f'serl.{room}', *MAY_IMPORT[room])
  if not is_within(imported, allowed):
    return f'{room} may import only {", ".join(allowed)}'
  return None


def violations_of(path: pathlib.Path, source: str) -> list[str]:
  """Returns one line for each import in `source` that breaks a rule.

  Args:
    path: where the file stands, relative to the repository's root.
    source: its text.
  """
  importer = '.'.join(path.with_suffix('').parts).removesuffix('.__init__')
  return [
    f'{path}:{line}: imports {imported}: {rule}'
    for line, imported in imports_of(ast.parse(source, str(path)))
    if (rule := broken_rule(importer, imported))
  ]


def test_no_file_breaks_a_rule():
  files = [
    file.relative_to(ROOT)
    for package in ('serl', 'robot_server')
    for file in sorted((ROOT / package).rglob('*.py'))
  ]
  assert pathlib.Path('serl/core.py') in files
  violations = [
    violation
    for file in files
    for violation in violations_of(file, (ROOT / file).read_text())
  ]
  assert not violations, '\n'.join(['', *violations])


@pytest.mark.parametrize(
  'path, line, rule',
  [
    ('serl/environments/sim/a.py', 'import jax.numpy as jnp', 'never import'),
    (
      'serl/environments/a.py',
      'from serl.agents import sac',
      'may import only',
    ),
    ('serl/agents/sac/a.py', 'from serl import replay', 'may import only'),
    ('serl/agents/a.py', 'import serl.programs.local', 'may import only'),
    ('serl/agents/a.py', 'from serl import environments', 'may import only'),
    ('serl/ops/a.py', 'from serl import agents', 'may import only'),
    ('serl/replay/a.py', 'from serl.agents import sac', 'may import only'),
    ('serl/demos/a.py', 'from serl.replay import tables', 'may import only'),
    ('serl/programs/a.py', 'from serl import tools', 'may import only'),
    ('serl/core.py', 'from serl import utils', 'may import only'),
    ('serl/__init__.py', 'from serl import types', 'imports nothing'),
    ('serl/new/a.py', 'from serl import types', 'not in MAY_IMPORT'),
    ('serl/agents/a.py', 'import reverb', 'only serl.replay'),
    ('serl/utils/a.py', 'from tensorflow import io', 'only serl.replay'),
    ('serl/programs/local.py', 'import launchpad as lp', 'only serl.programs'),
    (
      'serl/programs/distributed_2.py',
      'import launchpad',
      'only serl.programs',
    ),
    ('serl/programs/a.py', 'import wandb', 'only serl.utils.loggers'),
    ('serl/agents/a.py', 'import rlax', 'only serl.ops.lazy_rlax'),
    ('serl/agents/a.py', 'from . import builder', 'absolute'),
    ('robot_server/a.py', 'from serl import types', 'another computer'),
    ('robot_server/a.py', 'import serl', 'another computer'),
  ],
)
def test_a_forbidden_import_is_reported(path, line, rule):
  # Inside a function: a late import is an import.
  source = f'import numpy\n\ndef f():\n  {line}\n'

  (violation,) = violations_of(pathlib.Path(path), source)

  assert violation.startswith(f'{path}:4: imports ')
  assert rule in violation


@pytest.mark.parametrize(
  'path, line',
  [
    ('serl/core.py', 'from serl import types'),
    ('serl/agents/rlpd/builder.py', 'from serl.agents import builder'),
    ('serl/agents/sac/networks.py', 'from serl import networks'),
    ('serl/agents/sac/losses.py', 'from serl.ops import lazy_rlax as rlax'),
    ('serl/replay/tables.py', 'from serl.agents import builder'),
    ('serl/replay/tables.py', 'import reverb'),
    ('serl/programs/distributed/nodes.py', 'import launchpad as lp'),
    ('serl/programs/distributed.py', 'from serl.programs import config'),
    ('serl/environments/sim/a.py', 'import mujoco'),
    ('serl/environments/franka/a.py', 'from robot_server import protocol'),
    ('serl/utils/loggers/wandb.py', 'import wandb'),
    ('serl/tools/parity.py', 'from serl.programs import local'),
    ('robot_server/drivers/ros.py', 'import rospy'),
  ],
)
def test_an_allowed_import_is_not(path, line):
  assert violations_of(pathlib.Path(path), line) == []
