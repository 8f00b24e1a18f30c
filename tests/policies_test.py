"""A run's policy in a program of somebody else's."""

import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import serl
from serl import policies
from serl import programs
from serl import specs
from serl.agents import actors
from serl.agents import sac
from serl.programs import run_folder
from serl.programs import training
from serl.testing import fakes
from serl.utils import checkpointing

_SPEC = fakes.make_arm_spec()
_OBSERVATION = {
  'tcp_pose': np.linspace(-1, 1, 7, dtype=np.float32),
  'tcp_vel': np.linspace(1, -1, 6, dtype=np.float32),
}
_AGENT = dataclasses.replace(
  sac.cpu(), hidden_sizes=(8, 8), critic_members=2, batch_size=8
)


def _make_environment(seed):
  return fakes.FakeEnvironment(_SPEC, seed=seed)


def _make_run(folder, builder, seed=0, step=5):
  """Makes the folder of a run with a checkpoint; returns its config."""
  config = programs.RunConfig(
    run_dir=folder, make_environment=_make_environment, builder=builder
  )
  run_folder.claim(config, _SPEC)
  algorithm = builder.make_algorithm(builder.make_networks(_SPEC))
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(seed))
  checkpointer = checkpointing.Checkpointer(run_folder.checkpoints(folder))
  checkpointer.save(step, state, {'env_steps': 0})
  return config, state


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The config of a run with a checkpoint, and its training state."""
  return _make_run(
    tmp_path_factory.mktemp('runs') / 'run', sac.SACBuilder(_AGENT)
  )


@pytest.fixture
def folder(run, tmp_path):
  """A copy of its folder, to be changed."""
  return shutil.copytree(run[0].folder, tmp_path / 'run')


def _expected(builder, state):
  """Returns what the agent's own policy does."""
  act = builder.make_policy(builder.make_networks(_SPEC), evaluation=True)
  params = builder.policy_params(state)
  return jax.jit(act)(params, jax.random.PRNGKey(9), _OBSERVATION)


def test_acts_as_the_agent_does_without_exploring(run):
  config, state = run
  policy = serl.load_policy(config.folder)
  action = policy(_OBSERVATION)
  assert isinstance(action, np.ndarray) and action.flags.writeable
  expected = _expected(config.builder, state)
  np.testing.assert_allclose(action, expected, atol=1e-6)
  np.testing.assert_array_equal(policy(_OBSERVATION), action)
  assert policy.learner_steps == 5
  assert policy.spec.observations == _SPEC.observations
  assert policy.spec.actions.shape == (7,)
  params = config.builder.policy_params(state)
  jax.tree.map(np.testing.assert_array_equal, policy.params, params)


_PROGRAM = """
import sys
for name in sys.argv[3].split(','):
  sys.modules[name] = None  # its import raises
import json
import numpy as np
observation = {k: np.array(x) for k, x in json.loads(sys.argv[2]).items()}
import serl

policy = serl.load_policy(sys.argv[1])
action = policy(observation)

policy.export(sys.argv[1] + '/policy')
print(json.dumps(action.tolist()))
"""
_ABSENT = (
  'launchpad',
  'reverb',
  'tensorflow',
  'mujoco',
  'serl.environments',
  'serl.programs',
  'serl.replay',
  'cv2',
  'flask',
  'rlax',
)


def test_three_lines_in_a_program_without_the_rest(run, folder):
  observation = {name: x.tolist() for name, x in _OBSERVATION.items()}
  done = subprocess.run(
    [
      sys.executable,
      '-c',
      _PROGRAM,
      str(folder),
      json.dumps(observation),
      ','.join(_ABSENT),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  action = serl.load_policy(folder)(_OBSERVATION)
  told = np.float32(json.loads(done.stdout.splitlines()[-1]))
  np.testing.assert_array_equal(told, action)
  # What it exported is run by JAX alone.
  read = jax.export.deserialize(bytearray((folder / 'policy').read_bytes()))
  np.testing.assert_array_equal(read.call(_OBSERVATION), action)


def test_an_exported_policy_is_equal_and_replaces_an_old_one(run, tmp_path):
  policy = serl.load_policy(run[0].folder)
  path = tmp_path / 'policy'
  path.write_bytes(b'an old one')
  policy.export(path)
  read = jax.export.deserialize(bytearray(path.read_bytes()))
  rng = np.random.default_rng(0)
  for _ in range(20):
    observation = {
      name: rng.normal(size=x.shape).astype(np.float32)
      for name, x in _OBSERVATION.items()
    }
    np.testing.assert_array_equal(read.call(observation), policy(observation))
  assert set(read.platforms) == {'cpu', 'cuda'}
  assert [p.name for p in tmp_path.iterdir()] == ['policy']


def test_takes_the_best_policy_or_that_of_a_step(run, folder):
  config, state = run
  other = jax.tree.map(lambda x: x + 1, config.builder.policy_params(state))
  best = checkpointing.Checkpointer(run_folder.best_policy(folder))
  best.save(1, other, {'learner_steps': 3})
  policy = serl.load_policy(folder)
  assert policy.learner_steps == 3
  jax.tree.map(np.testing.assert_array_equal, policy.params, other)
  assert serl.load_policy(folder, step=5).learner_steps == 5
  with pytest.raises(FileNotFoundError, match='step 4; it holds those of 5'):
    serl.load_policy(folder, step=4)


def test_the_builder_may_be_given(run):
  config, state = run
  policy = serl.load_policy(config.folder, sac.SACBuilder(_AGENT))
  expected = _expected(config.builder, state)
  np.testing.assert_allclose(policy(_OBSERVATION), expected, atol=1e-6)


def test_another_agents_builder_is_refused_though_its_arrays_fit(run):
  other = sac.SACBuilder(dataclasses.replace(_AGENT, discount=0.5))
  with pytest.raises(policies.PolicyError, match='of another agent') as raised:
    serl.load_policy(run[0].folder, other)
  assert 'discount: 0.5, expected 0.97' in str(raised.value)
  # Neither does a program that evaluates take it in silence.
  config = dataclasses.replace(run[0], builder=other)
  with pytest.raises(run_folder.AnotherRunError, match='agent/discount'):
    training.load_policy(config, _SPEC)


def test_parameters_of_another_agent_are_refused_with_what_differs(
  folder, tmp_path
):
  wider = sac.SACBuilder(dataclasses.replace(_AGENT, hidden_sizes=(16, 8)))
  _make_run(tmp_path / 'wider', wider)
  shutil.rmtree(folder / 'checkpoints')
  shutil.copytree(tmp_path / 'wider/checkpoints', folder / 'checkpoints')
  with pytest.raises(
    checkpointing.CheckpointError, match='holds another training state'
  ) as raised:
    serl.load_policy(folder)
  assert '[13, 16]' in str(raised.value)


def test_damaged_checkpoints_are_refused(folder):
  for path in (folder / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  with pytest.raises(checkpointing.DamagedError, match='is whole'):
    serl.load_policy(folder)


def test_a_folder_without_a_checkpoint_is_named(folder):
  shutil.rmtree(folder / 'checkpoints')
  with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
    serl.load_policy(folder)


def test_a_folder_that_is_no_run_is_named(folder, tmp_path):
  with pytest.raises(policies.PolicyError, match='there are runs in it: run'):
    serl.load_policy(tmp_path)
  with pytest.raises(policies.PolicyError, match='is no run'):
    serl.load_policy(folder / 'checkpoints')
  with pytest.raises(policies.PolicyError, match='is no run'):
    serl.load_policy(tmp_path / 'nothing')


_HUGE = {'x': {'shape': [10**12], 'dtype': 'float32'}}
_OBJECT = {'x': {'shape': [1], 'dtype': 'object'}}


@pytest.mark.parametrize(
  'change, expected',
  [
    (lambda run: None, 'is torn or not that of a run'),
    (lambda run: [], 'is torn or not that of a run'),
    (lambda run: {**run, 'agent': None}, 'does not say enough'),
    (
      lambda run: {**run, 'agent': {'agent': 'mine'}},
      'takes the builder',
    ),
    (lambda run: {**run, 'observations': _HUGE}, 'expected an array'),
    (lambda run: {**run, 'observations': _OBJECT}, 'expected an array'),
    (lambda run: {**run, 'actions': {'': 3}}, 'describes no observations'),
    (lambda run: {'agent': run['agent']}, 'describes no observations'),
  ],
)
def test_a_config_that_says_no_agent_is_refused(folder, change, expected):
  path = folder / 'config.json'
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, 'run': change(content['run'])}))
  with pytest.raises(policies.PolicyError) as raised:
    serl.load_policy(folder)
  assert expected in str(raised.value)


@pytest.mark.parametrize(
  'content', [b'', b'{"run"', bytes(100), b'\xff', b'[' * 100_000]
)
def test_a_torn_config_is_refused(folder, content):
  (folder / 'config.json').write_bytes(content)
  with pytest.raises(policies.PolicyError, match='is torn or'):
    serl.load_policy(folder)


def test_an_observation_that_does_not_fit_is_refused(run):
  policy = serl.load_policy(run[0].folder)
  action = policy(_OBSERVATION)
  # As many environments of gymnasium give them.
  wide = {name: x.astype(np.float64) for name, x in _OBSERVATION.items()}
  np.testing.assert_array_equal(policy(wide), action)
  for wrong, expected in (
    ({'tcp_pose': np.zeros(7)}, 'tcp_vel: missing, expected float32 [6]'),
    (
      {**_OBSERVATION, 'tcp_pose': np.zeros((1, 7), np.float32)},
      'tcp_pose: float32 [1, 7], expected float32 [7]',
    ),
    (
      {**_OBSERVATION, 'force': np.zeros(3)},
      'force: float64 [3], not exp',
    ),
    ({**_OBSERVATION, 'tcp_vel': np.array(['a'] * 6)}, 'tcp_vel: str'),
    (np.zeros(13), 'value: float64 [13], not expected'),
  ):
    with pytest.raises(ValueError, match='does not fit') as raised:
      policy(wrong)
    assert expected in str(raised.value)


def test_bytes_are_not_made_of_floats():
  image = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255, 'image')
  spec = _SPEC._replace(observations={'image': image})
  policy = policies.Policy(
    lambda params, key, observation: params, np.ones(2, np.float32), spec, 0
  )
  np.testing.assert_array_equal(policy({'image': np.zeros((4, 4, 3), 'u1')}), 1)
  with pytest.raises(ValueError, match=r'float64 \[4, 4, 3\], expected uint8'):
    policy({'image': np.zeros((4, 4, 3))})


def test_actions_have_the_dtype_of_the_environment():
  actions = specs.BoundedArray((2,), np.float64, -1.0, 1.0)
  policy = policies.Policy(
    lambda params, key, observation: params,
    np.ones(2, np.float32),
    _SPEC._replace(actions=actions),
    0,
  )
  actions.validate(policy(_OBSERVATION))


def test_an_action_that_is_not_finite_is_refused():
  policy = policies.Policy(
    lambda params, key, observation: params, np.float32([0, np.nan]), _SPEC, 7
  )
  with pytest.raises(actors.NonFiniteActionError, match='of learner step 7'):
    policy(_OBSERVATION)
