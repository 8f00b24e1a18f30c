import contextlib
import json
import pathlib
import pickle
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from serl import specs
from serl.agents import classifier
from serl.agents.classifier import networks as classifier_networks
from serl.demos import log
from serl.demos import recording
from serl.environments.sim import tasks
from serl.networks import encoders
from serl.testing import fakes
from serl.utils import loggers

_EXAMPLES = sorted(
  (pathlib.Path(__file__).parent.parent / 'examples').glob('*.py')
)
# Those that share the command line of a run, and act while they learn.
_RUNS = [
  path
  for path in _EXAMPLES
  if 'define_flags(' in path.read_text() and path.stem != 'bc_sim'
]


@pytest.mark.parametrize('path', _EXAMPLES, ids=lambda path: path.stem)
def test_is_short(path):
  # An agent is a definition, the others are compositions.
  most = 150 if path.stem == 'own_agent' else 80
  assert len(path.read_text().splitlines()) <= most


def _save_classifier(folder, shown=None):
  """Saves one without the time to train it.

  Args:
    folder: to write it to.
    shown: images of which it takes the last alone for a success; by default it
      takes nothing for one.
  """
  config = classifier.NetworkConfig(('front',), encoders.EncoderConfig())
  image = specs.BoundedArray((32, 32, 3), np.uint8, 0, 255)
  networks = classifier_networks.make_networks({'front': image}, config)
  for seed in range(99):
    params = classifier_networks.init(networks, jax.random.PRNGKey(seed))
    threshold = 0.99
    if shown is None:
      break
    told = classifier_networks.make_probability(networks, params)
    *others, last = [told({'front': image}) for image in shown]
    threshold = (last + max(others)) / 2
    if last > threshold:
      break
  classifier.save(
    folder / 'classifier.safetensors',
    classifier.Classifier(config, networks, params, threshold),
  )


def _prepare_bins(folder):
  """Returns flags that spare the bins long episodes and all that precedes."""
  environment = tasks.make('bins_forward')
  spec = specs.make_environment_spec(environment)
  environment.close()
  for task in ('forward', 'backward'):
    _save_classifier(folder / 'classifiers' / task)
    demonstrations = log.EpisodeLog(folder / 'demos' / task, spec)
    demonstrations.append(fakes.make_episode(spec))
    (folder / f'{task}.py').write_text(
      'import dataclasses\n'
      'from serl.environments.franka.tasks import bins_relocate\n'
      f'CONFIG = dataclasses.replace(\n'
      f'  bins_relocate.{task.upper()}, episode_steps=5\n)\n'
    )
  return [
    '--correct-after=2',
    f'--classifier={folder / "classifiers"}',
    f'--demos={folder / "demos"}',
    f'--task={folder / "forward.py"},{folder / "backward.py"}',
  ]


def _few_steps(path, folder):
  """Returns flags with which a run takes little time, in `folder`."""
  flags = ['--max-env-steps=1100', '--updates-per-step=0.2']
  if 'image-size' in path.read_text():
    flags = ['--max-env-steps=300', '--updates-per-step=0.05']
    flags += ['--image-size=32']
  if 'demonstrations=True' in path.read_text():
    flags += ['--demo-episodes=2']
  if 'arm.define_flags(' in path.read_text():
    flags += ['--twin', '--nohttp', '--image-size=32', '--demo-episodes=2']
    if path.stem != 'peg_insert':
      # They differ in the scene alone: an episode each.
      flags += ['--max-env-steps=1', '--demo-episodes=1']
      flags += ['--evaluation-episodes=1']
  if path.stem == 'cable_route':
    flags += ['--classifier-episodes=2', '--classifier-steps=150']
    flags += ['--accept-poor-classifier']
  if path.stem == 'bins_relocate':
    flags += _prepare_bins(folder)
  return flags


@pytest.mark.parametrize('path', _RUNS, ids=lambda path: path.stem)
def test_runs_for_some_steps(path, tmp_path):
  flags = _few_steps(path, tmp_path)
  done = subprocess.run(
    [
      sys.executable,
      path,
      '--local',
      f'--run={tmp_path / "run"}',
      '--steps-per-second=0',
      '--evaluation-episodes=2',
      *flags,
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  # An episode is too little to learn from.
  learns = '--max-env-steps=1' not in flags
  assert done.returncode == (0 if learns else 3), done.stderr
  assert ('nothing was learned' in done.stdout) == (not learns)
  assert 'The best policy succeeded in' in done.stdout
  run = tmp_path / 'run'
  folders = [run]
  if path.stem == 'bins_relocate':
    folders = [run / 'forward', run / 'backward']
    (record,) = loggers.read_metrics(run / 'forward', 'actor_0')
    assert record['intervened'] == 0.6 and record['rescues'] == 0.0
    for task in ('forward', 'backward'):
      # The task's: Franka's hand reads less when it is closed.
      described = json.loads((run / task / 'config.json').read_text())['run']
      assert described['agent']['wraps']['gripper_range'] == [0.0, 255.0]
  for folder in folders:
    assert (folder / 'learning_curve.png').exists()
    assert list((folder / 'checkpoints').iterdir())


@pytest.mark.parametrize(
  # All others define theirs by the same functions.
  'path',
  [path for path in _RUNS if path.stem in ('drq_sim', 'peg_insert')],
  ids=lambda path: path.stem,
)
def test_help_explains_its_flags(path):
  done = subprocess.run(
    [sys.executable, path, '--help'],
    capture_output=True,
    text=True,
    check=False,
  )
  for flag in ('--run', '--preset', '--role', '--minutes'):
    assert flag in done.stdout


def test_trains_a_reward_classifier(tmp_path):
  (path,) = (p for p in _EXAMPLES if p.stem == 'train_reward_classifier')
  # Two updates teach nothing.
  command = [sys.executable, path, '--record=12', '--steps=2', '--accept-poor']
  done = subprocess.run(
    [*command, f'--output={tmp_path}'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert len(list((tmp_path / 'episodes').glob('*.npz'))) == 12
  for name in ('classifier.safetensors', 'report.json', 'report.png'):
    assert (tmp_path / name).exists()
  # The same command takes what is recorded; another learns from it alone.
  done = subprocess.run(
    [*command, f'--data={tmp_path / "episodes"}', '--cameras=side'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert 'no image side' in done.stderr
  help_text = subprocess.run(
    [sys.executable, path, '--help'], capture_output=True, text=True
  ).stdout
  for flag in ('--data', '--success', '--failure', '--weights', '--preset'):
    assert flag in help_text


def test_a_classifier_that_only_guesses_is_not_saved(tmp_path):
  # The same images are successes and failures.
  image = specs.BoundedArray((64, 64, 3), np.uint8, 0, 255)
  spec = fakes.make_state_spec()._replace(observations={'front': image})
  data = log.EpisodeLog(tmp_path / 'data', spec)
  for seed in range(4):
    data.append(fakes.make_episode(spec, length=4, seed=seed))
  same = f'--success={tmp_path / "data"}', f'--failure={tmp_path / "data"}'
  done = _run(
    'train_reward_classifier.py', *same, '--steps=4', f'--output={tmp_path}'
  )
  assert done.returncode == 1
  assert 'is not saved' in done.stderr and 'Traceback' not in done.stderr
  assert not (tmp_path / 'classifier.safetensors').exists()
  assert (tmp_path / 'report.json').exists()


def _run(name, *arguments):
  path = _EXAMPLES[0].with_name(name)
  return subprocess.run(
    [sys.executable, path, *arguments],
    capture_output=True,
    text=True,
    check=False,
  )


def test_behaviour_cloning_trains_and_is_evaluated(tmp_path):
  run = tmp_path / 'run'
  done = _run(
    'bc_sim.py', f'--run={run}', '--demo-episodes=2', '--max-learner-steps=5'
  )
  assert done.returncode == 0, done.stderr
  assert 'Ended: the limit of 5 learner steps.' in done.stdout
  assert (run / 'learning_curve.png').exists()
  done = _run(
    'evaluate.py', f'--run={run}', '--episodes=2', '--step=5', '--video'
  )
  assert done.returncode == 0, done.stderr
  assert f'learner step 5 of {run}' in done.stdout
  assert '% (95 % interval 0% to ' in done.stdout
  assert (run / 'evaluations' / '5.json').exists()
  assert (run / 'evaluations' / '5.mp4').stat().st_size > 0
  # That it takes no demonstrations: none are recorded for it.
  shutil.rmtree(run / 'demonstrations')
  done = _run('evaluate.py', f'--run={run}', '--episodes=1', '--step=5')
  assert done.returncode == 0, done.stderr
  assert not (run / 'demonstrations').exists()
  done = _run('evaluate.py', f'--run={run}', '--step=6')
  assert done.returncode == 1
  assert 'no checkpoint of learner step 6; it holds those of 5' in done.stderr


def test_clones_from_images(tmp_path):
  run = tmp_path / 'run'
  done = _run(
    'bc_sim.py',
    '--images',
    '--image-size=32',
    f'--run={run}',
    '--demo-episodes=2',
    '--max-learner-steps=2',
    '--evaluation-episodes=1',
  )
  assert done.returncode == 0, done.stderr
  assert 'Ended: the limit of 2 learner steps.' in done.stdout
  described = json.loads((run / 'config.json').read_text())['run']
  assert described['observations']['front']['shape'] == [32, 32, 3]


def _write_serl_pickle(path, size):
  """Writes an episode of the cube pick's numbers, as SERL keeps one."""

  def observation(step):
    image = np.full((1, size, size, 3), step, np.uint8)
    return {'front': image, 'wrist': image, 'state': np.zeros((1, 7), 'f4')}

  transitions = [
    {
      'observations': observation(t),
      'actions': np.full(4, 0.5, np.float32),
      'next_observations': observation(t + 1),
      'rewards': np.float32(t == 4),
      'masks': float(t < 4),
      'dones': t == 4,
    }
    for t in range(5)
  ]
  path.write_bytes(pickle.dumps(transitions))


def test_learns_from_a_pickle_of_serl_by_a_classifier(tmp_path):
  run, demos = tmp_path / 'run', tmp_path / 'demos.pkl'
  _write_serl_pickle(demos, 32)
  # It sees success two steps before the demonstration's end.
  shown = [np.full((32, 32, 3), t, np.uint8) for t in (1, 2, 3)]
  _save_classifier(tmp_path / 'classifier', shown)
  flags = ['--image-size=32', '--steps-per-second=0', '--max-env-steps=1']
  flags += [f'--run={run}', '--evaluation-episodes=1', '--local']
  done = _run(
    'rlpd_drq_sim.py',
    f'--demos={demos}',
    f'--classifier={tmp_path / "classifier"}',
    '--encoder=resnet10',
    *flags,
  )
  # A single step is too little to learn from.
  assert done.returncode == 3, done.stderr
  assert 'nothing was learned' in done.stdout
  (record,) = loggers.read_metrics(run, 'actor_0')
  assert record['episode_return'] == record['learned_success']
  (judged,) = recording.load(run / 'demonstrations')
  assert judged.reward.tolist() == [0, 0, 1]
  assert judged.discount.tolist() == [1, 1, 0]
  described = json.loads((run / 'config.json').read_text())['run']
  agent = described['agent']['wraps']
  assert agent['encoder']['kind'] == 'resnet10'
  # As the classifier rewards success alone.
  assert agent['learns_by']['return_bounds'] == [0.0, 1.0]
  # What rewards belongs to the run.
  done = _run('rlpd_drq_sim.py', f'--demos={demos}', *flags)
  assert done.returncode == 1
  assert 'classifier' in done.stderr


def test_both_directions_are_cloned(tmp_path):
  run = tmp_path / 'run'
  done = _run(
    'bins_relocate.py',
    f'--run={run}',
    '--agent=bc',
    '--twin',
    '--nohttp',
    '--image-size=32',
    '--max-learner-steps=2',
    '--evaluation-episodes=1',
    *_prepare_bins(tmp_path),
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('Ended: the limit of 2 learner steps.') == 2
  done = _run('evaluate.py', f'--run={run / "backward"}')
  assert done.returncode == 1
  assert f'the folder that they share, {run}; of a checkpoint' in done.stderr
  assert '--step=backward:STEP' in done.stderr
  evaluate = ('evaluate.py', f'--run={run}', '--episodes=1')
  done = _run(*evaluate, '--step=backward:2')
  assert done.returncode == 1
  # The user names the files of tasks, not the folder.
  assert 'Name the file of your own: --task=FILE.py' in done.stderr
  files = ','.join(f'{tmp_path / name}.py' for name in ('forward', 'backward'))
  done = _run(*evaluate, '--step=backward:2', f'--task={files}')
  assert done.returncode == 0, done.stderr
  for task in ('forward', 'backward'):
    assert f'learner step 2 of {run / task}' in done.stdout


def test_evaluation_refuses_what_no_example_here_trained(tmp_path):
  done = _run('evaluate.py', f'--run={tmp_path}')
  assert done.returncode == 1
  assert f'{tmp_path} is no run: it has no config.json' in done.stderr
  (tmp_path / 'config.json').write_text(
    '{"command": ["../mine.py"], "run": {}}'
  )
  done = _run('evaluate.py', f'--run={tmp_path}')
  assert done.returncode == 1
  assert "was trained by '../mine.py', which is not one of" in done.stderr


@pytest.mark.parametrize(
  'name, flag',
  [
    ('bc_sim.py', 'demos'),
    ('rlpd_state_sim.py', 'demos'),
    ('train_reward_classifier.py', 'data'),
  ],
)
def test_data_that_are_not_there_are_named_in_a_line(name, flag, tmp_path):
  absent = tmp_path / 'absent'
  where = 'output' if flag == 'data' else 'run'
  done = _run(name, f'--{flag}={absent}', f'--{where}={tmp_path / "run"}')
  assert done.returncode == 1
  assert f'{absent}: no such file or folder' in done.stderr
  assert 'Traceback' not in done.stderr
  # At once, before anything else begins.
  assert not (tmp_path / 'run').exists()


def _refusal_of_demos(folder):
  done = _run(
    'rlpd_state_sim.py',
    '--local',
    f'--demos={folder / "demos"}',
    f'--run={folder / "run"}',
  )
  assert done.returncode == 1
  assert 'Traceback' not in done.stderr
  assert not (folder / 'run').exists()
  return done.stderr


def test_demonstrations_of_something_else_leave_no_run(tmp_path):
  spec = fakes.make_image_spec()
  log.EpisodeLog(tmp_path / 'demos', spec).append(fakes.make_episode(spec))
  assert 'by flags such as --image-size' in _refusal_of_demos(tmp_path)


def test_a_demonstration_of_one_step_leaves_no_run(tmp_path):
  with contextlib.closing(tasks.make('pick_cube')) as environment:
    spec = specs.make_environment_spec(environment)
  demos = log.EpisodeLog(tmp_path / 'demos', spec)
  for length in (10, 1):
    demos.append(fakes.make_episode(spec, length))
  refusal = _refusal_of_demos(tmp_path)
  assert 'of 2 demonstrations, counted from 0, [1] are of one' in refusal


def test_an_unknown_task_is_told_in_a_line(tmp_path):
  done = _run('peg_insert.py', f'--run={tmp_path}', '--twin', '--task=hammer')
  assert done.returncode == 1
  assert done.stderr.startswith("Unknown task 'hammer'; expected one of ")
  assert done.stderr.count('\n') == 1


def test_help_of_behaviour_cloning_and_of_evaluation():
  for name, flags in (
    ('bc_sim.py', ('--run', '--task', '--demos', '--[no]images')),
    ('evaluate.py', ('--run', '--episodes', '--step', '--[no]video')),
  ):
    stdout = _run(name, '--help').stdout
    for flag in flags:
      assert f'  {flag}:' in stdout
