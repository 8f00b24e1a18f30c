"""Import time is part of the interface: what the core must not load."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

HEAVY = (
  'tensorflow',
  'reverb',
  'launchpad',
  'cv2',
  'pyrealsense2',
  'rospy',
  # Imported by the first loss that is computed; see `ops.lazy_rlax`.
  'rlax',
  'distrax',
  'tensorflow_probability',
)

# They own the cameras' libraries, and are imported by who opens a camera.
DEVICE_MODULES = (
  'serl.environments.franka.capture',
  'serl.environments.franka.realsense',
  'serl.environments.franka.software_realsense',
)

# Imports one module after another and tells which first loaded something heavy.
PROBE = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
loaded = {}
for module in modules:
  importlib.import_module(module)
  for name in heavy:
    if name in sys.modules:
      loaded.setdefault(name, module)
print(json.dumps(loaded))
"""


def modules_in(package: str) -> list[str]:
  """Returns every module of a package, without importing any of them."""
  folder = ROOT / package.replace('.', '/')
  return [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix(
      '.__init__'
    )
    for path in sorted(folder.rglob('*.py'))
  ]


def first_loader_of(
  heavy: tuple[str, ...], modules: list[str]
) -> dict[str, str]:
  """Returns the heavy packages that `modules` load, by the first to do so."""
  probe = subprocess.run(
    [sys.executable, '-c', PROBE, json.dumps([modules, heavy])],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert probe.returncode == 0, probe.stderr
  return json.loads(probe.stdout.splitlines()[-1])


def test_serl_and_the_agents_load_nothing_heavy():
  modules = [
    'serl',
    *modules_in('serl.ops'),
    *modules_in('serl.networks'),
    *modules_in('serl.agents'),
  ]
  assert 'serl.agents.builder' in modules
  assert first_loader_of(HEAVY, modules) == {}


# Makes the agent of an expression, acts once with its policy, then learns once.
AGENT = """
import sys
import jax, numpy as np
from serl import specs
from serl import types
from serl.agents import {agent}
loaded = lambda: {heavy} & sys.modules.keys()
bounded = lambda *shape: specs.BoundedArray(shape, np.float32, -1.0, 1.0)
spec = specs.EnvironmentSpec(
  bounded(6), bounded(2), specs.Array((), np.float32), bounded()
)
builder = {make}
networks = builder.make_networks(spec)
algorithm = builder.make_algorithm(networks)
state = algorithm.init(jax.random.PRNGKey(0))
observation = np.zeros(6, np.float32)
for evaluation in (True, False):
  policy = builder.make_policy(networks, evaluation)
  params = builder.policy_params(state)
  assert policy(params, jax.random.PRNGKey(0), observation).shape == (2,)
print(sorted(loaded()))
batch = builder.batch_spec()
draw = lambda *shape: np.zeros(
  (batch.updates_per_round, batch.batch_size, *shape), np.float32
)
jax.eval_shape(
  algorithm.update,
  state,
  types.Batch.uniform(
    types.Transition(draw(6), draw(2), draw(), draw(), draw(6))
  ),
)
print(sorted(loaded()))
"""


@pytest.mark.parametrize(
  'agent, make, by_losses',
  [
    ('sac', 'sac.SACBuilder(sac.sac())', ['distrax', 'rlax']),
    ('bc', 'bc.BCBuilder(bc.BCConfig())', []),
  ],
)
def test_acting_loads_no_rlax_and_learning_no_tensorflow(
  agent, make, by_losses
):
  heavy = {'rlax', 'distrax', 'tensorflow', 'reverb'}
  program = AGENT.format(agent=agent, make=make, heavy=heavy)
  probe = subprocess.run(
    [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True
  )
  assert probe.returncode == 0, probe.stderr
  assert probe.stdout.splitlines()[-2:] == ['[]', str(by_losses)]


def test_serl_alone_loads_next_to_nothing():
  assert first_loader_of((*HEAVY, 'jax', 'numpy', 'dm_env'), ['serl']) == {}


def test_the_environments_load_nothing_heavy_nor_jax():
  pytest.importorskip('mujoco', reason='the extra [sim] is not installed')
  modules = [
    module
    for module in modules_in('serl.environments')
    if module not in DEVICE_MODULES
  ]
  assert 'serl.environments.sim' in modules
  assert first_loader_of((*HEAVY, 'jax'), modules) == {}


def test_the_launcher_and_the_nodes_beside_the_learner_load_no_tensorflow():
  pytest.importorskip('launchpad', reason='the extra [launch] is for 3.10')
  modules = [
    f'serl.programs.distributed.{name}'
    for name in ('launcher', 'program', 'actor', 'evaluator')
  ]
  assert first_loader_of(('tensorflow', 'reverb'), modules) == {}


def test_the_probe_sees_what_is_loaded():
  modules = ['json', 'xml.dom']
  assert first_loader_of(('xml', 'tensorflow'), modules) == {'xml': 'xml.dom'}


def test_no_test_is_misled_by_another_checkout():
  spec = importlib.util.find_spec('serl')
  assert pathlib.Path(spec.origin).is_relative_to(ROOT)
