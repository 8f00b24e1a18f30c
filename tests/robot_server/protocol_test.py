import ast
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from robot_server import protocol

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / 'robot_server').glob('*.py'))


def make_state() -> protocol.State:
  return protocol.State(
    pose=np.arange(7.0),
    vel=np.arange(6.0),
    force=np.arange(3.0),
    torque=np.arange(3.0),
    q=np.arange(7.0),
    dq=np.arange(7.0),
    jacobian=np.arange(42.0).reshape(6, 7),
    gripper_pos=np.float32(0.25),
    time=3.0,
  )


def test_a_state_answers_by_the_names_that_clients_know():
  answer = make_state().to_json()

  assert list(answer) == [
    'pose',
    'vel',
    'force',
    'torque',
    'q',
    'dq',
    'jacobian',
    'gripper_pos',
  ]
  assert answer['jacobian'][1][0] == 7.0
  assert type(answer['gripper_pos']) is float


def test_the_compliance_parameters_are_those_of_the_controller():
  assert len(protocol.COMPLIANCE) == 20
  assert protocol.COMPLIANCE['translational_stiffness'] == (0, 6000, 2000)
  assert protocol.COMPLIANCE['rotational_clip_neg_z'] == (0, 0.1, 0.05)
  for low, high, default in protocol.COMPLIANCE.values():
    assert low <= default <= high


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_the_robots_older_python_reads_every_file(path):
  tree = ast.parse(path.read_text(), feature_version=(3, 8))

  # Hints may then be newer than the interpreter: nobody evaluates them.
  assert path.name == '__init__.py' or any(
    isinstance(node, ast.ImportFrom) and node.module == '__future__'
    for node in tree.body
  )


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_only_hints_subscribe_what_the_older_python_cannot(path):
  tree = ast.parse(path.read_text())
  late = {'dict', 'list', 'set', 'tuple', 'type'}
  hints = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module == 'collections.abc':
      late |= {alias.name for alias in node.names}
    for name in ('annotation', 'returns'):
      if getattr(node, name, None) is not None:
        hints |= set(map(id, ast.walk(getattr(node, name))))
  for node in ast.walk(tree):
    if isinstance(node, ast.Subscript) and id(node) not in hints:
      assert getattr(node.value, 'id', '') not in late, ast.unparse(node)


def test_the_package_needs_nothing_of_ros_to_be_imported():
  modules = [f'robot_server.{path.stem}' for path in FILES]
  probe = (
    f'import importlib, sys\n'
    f'for module in {modules}: importlib.import_module(module)\n'
    'assert not {"rospy", "serl", "jax"} & set(sys.modules), sys.modules'
  )
  subprocess.run([sys.executable, '-c', probe], cwd=ROOT, check=True)
