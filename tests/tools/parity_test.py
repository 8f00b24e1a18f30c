"""Tests of parity: on the reference's numbers, and on a file made here."""

import os
import pathlib
import subprocess
import sys

from absl.testing import flagsaver
import jax
import numpy as np
import pytest

from serl.agents.sac import config as sac_config
from serl.agents.sac import learning
from serl.tools import golden_sac
from serl.tools import golden_sac_names
from serl.tools import parity

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = pathlib.Path(
  os.environ.get('SERL_GOLDENS', CHECKOUT.parent / 'shared' / 'goldens')
)
UTD, ROWS, ROUNDS, CRITICS = 2, 3, 2, 3


@pytest.fixture(autouse=True)
def parsed_flags():
  with flagsaver.flagsaver((parity._TOLERANCE, 1e-5)):
    parity.flags.FLAGS.mark_as_parsed()
    yield


def _inputs(warmup):
  """Returns what a replay reads from a file: random batches and noise."""
  random = np.random.default_rng(0)

  def normal(*shape):
    return random.normal(size=shape).astype(np.float32)

  golden = {
    'config/critic_ensemble_size': np.int64(CRITICS),
    'config/critic_subsample_size': np.int64(2),
    'config/discount': np.float64(0.9),
    'config/soft_target_update_rate': np.float64(0.01),
    'config/target_entropy': np.float64(-1.0),
    'config/backup_entropy': np.bool_(False),
    'meta/utd': np.int64(UTD),
    'meta/minibatch': np.int64(ROWS),
    'meta/rounds': np.int64(ROUNDS),
    'forward/observations': normal(ROWS, 5),
    'forward/actions': np.tanh(normal(ROWS, 2)),
    'temperature/init': np.float64(0.01),
    'init/rng': np.zeros(2, np.uint32),
  }
  for i in range(ROUNDS):
    batch, step = f'round{i}/batch', f'round{i}/actor_step'
    golden |= {
      f'{batch}/observations': normal(UTD * ROWS, 5),
      f'{batch}/actions': np.tanh(normal(UTD * ROWS, 2)),
      f'{batch}/next_observations': normal(UTD * ROWS, 5),
      f'{batch}/rewards': normal(UTD * ROWS),
      f'{batch}/masks': np.ones(UTD * ROWS, np.float32),
      f'{step}/actor/eps': normal(UTD * ROWS, 2),
      f'{step}/temperature/next_eps': normal(UTD * ROWS, 2),
    }
    for j in range(UTD):
      critic = f'round{i}/critic_step{j}/critic'
      golden[f'{critic}/next_eps'] = normal(ROWS, 2)
      golden[f'{critic}/subsample_idcs'] = np.array([j, 2], np.int32)
  updates = ROUNDS * (UTD + 1)
  for net in ('actor', 'critic', 'temperature'):
    last = f'round{ROUNDS - 1}/after/opt/{net}'
    golden[f'init/opt/{net}/lr'] = np.float32(0 if warmup else 3e-4)
    golden[f'{last}/lr'] = np.float32(3e-4 * (updates - 1) / 2000)
    golden[f'{last}/schedule_count'] = np.int32(updates)
    golden[f'init/opt/{net}/count'] = np.int32(0)
    golden[f'init/opt/{net}/schedule_count'] = np.int32(0)
  return golden


def _record(warmup=False):
  """Returns a golden file of this code's own numbers, and the replay."""
  golden = _inputs(warmup)
  config = sac_config.SACConfig(critic_members=CRITICS, hidden_sizes=(4, 4))
  networks = golden_sac._make_networks(golden, config)
  state = learning.init(networks, config, jax.random.PRNGKey(0))
  names = golden_sac_names.Tree(layers=2)
  for path, leaf in names.to_flat(state.params).items():
    golden[f'init/params/{path}'] = np.asarray(leaf)
    golden[f'init/target_params/{path}'] = np.asarray(leaf) + 0.1
    for net in ('actor', 'critic', 'temperature'):
      for moment in ('mu', 'nu'):
        golden[f'init/opt/{net}/{moment}/{path}'] = np.zeros_like(leaf)
  computed = list(golden_sac.replay(golden))
  for _, key, value in computed:
    # As in the reference's files, the states between steps are kept of the
    # first round alone.
    if not key.startswith('round1/after_critic_step'):
      golden[key] = np.asarray(value)
  return golden, computed


@pytest.fixture(scope='module')
def record():
  return _record()


@pytest.fixture
def recorded(record):
  return record[0]


@pytest.fixture
def compare(record):
  """Compares a file with what was computed for the recorded one."""
  return lambda golden: parity.compare(golden, record[1], golden_sac.INPUTS)


@pytest.fixture
def save(tmp_path):
  def save(golden):
    path = tmp_path / 'golden.npz'
    np.savez(path, **golden)
    return str(path)

  return save


def _run(path):
  return parity.main(['parity', str(path)])


@pytest.mark.parametrize('name', ['nowarmup', 'warmup'])
def test_the_references_numbers(name, capsys):
  path = GOLDENS / f'sac_small_{name}.npz'
  if not path.exists():
    pytest.skip(f'{path} is not there: set SERL_GOLDENS to the goldens folder')
  assert _run(path) == 0, capsys.readouterr().out


def test_its_own_numbers_agree_in_every_group(recorded, save, capsys):
  assert _run(save(recorded)) == 0
  printed = capsys.readouterr().out
  groups = ['forward', 'init']
  for i in range(ROUNDS):
    groups += [f'round{i}/critic_step0', f'round{i}/critic_step1']
    groups += [f'round{i}/actor_step', f'round{i}/after', f'round{i}/info']
  groups += ['round0/after_critic_step0', 'round0/after_critic_step1']
  for group in groups:
    assert f'\n{group} ' in printed
  assert 'round1/after_critic_step' not in printed
  assert 'not compared: init/rng\n' in printed


def test_a_warmup_is_read_from_the_file(save):
  golden, _ = _record(warmup=True)
  config = golden_sac.read_config(golden)
  assert config.warmup_steps == config.temperature_warmup_steps == 2000
  assert config.critic_learning_rate == 3e-4
  assert _run(save(golden)) == 0


@pytest.mark.parametrize(
  'key',
  [
    'forward/q',
    'temperature/raw_lagrange',
    'round0/critic_step1/critic/loss',
    'round0/after_critic_step0/opt/critic/mu/modules_critic/Dense_0/kernel',
    'round0/actor_step/temperature/loss',
    'round1/after/params/modules_actor/network/LayerNorm_1/scale',
    'round1/after/target_params/modules_critic/network/Dense_1/kernel',
    'round1/after/target_params/modules_actor/Dense_0/bias',
    'round1/after/opt/actor/nu/modules_actor/Dense_1/kernel',
    'round1/after/opt/temperature/mu/modules_critic/Dense_0/bias',
    'round1/after/opt/actor/count',
    'round1/info/critic_lr',
  ],
)
def test_a_perturbed_number_is_found(recorded, compare, key):
  array = np.array(recorded[key], copy=True)
  array.flat[-1] += 1e-3 if array.dtype.kind == 'f' else 1
  comparison = compare({**recorded, key: array})
  past = {g: w for g, w in comparison.groups.items() if w.error > 1e-5}
  assert [worst.key for worst in past.values()] == [key]


def test_what_a_file_lacks_or_spoils_is_found(recorded, compare):
  key = 'round0/after/params/modules_actor/Dense_0/bias'
  lacking = {k: v for k, v in recorded.items() if k != key}
  assert compare(lacking).groups['round0/after'].error == np.inf
  spoilt = {**recorded, key: np.full_like(recorded[key], np.nan)}
  assert compare(spoilt).groups['round0/after'].error == np.inf


@pytest.mark.parametrize(
  'ours, theirs, error',
  [
    ([1.0, 4.1], [1.0, 4.0], 0.025),
    ([0.0, 1e-3], [0.0, 0.0], 1e-3),
    ([1.0], [1.0, 1.0], np.inf),
    ([np.nan], [np.nan], np.inf),
    (2, 2, 0.0),
  ],
)
def test_relative_error(ours, theirs, error):
  np.testing.assert_allclose(parity.relative_error(ours, theirs), error)


def test_the_commands_exit_codes(recorded, save):
  def run(path, *options):
    command = [sys.executable, '-m', 'serl.tools.parity', path, *options]
    return subprocess.run(
      command, cwd=CHECKOUT, capture_output=True, text=True, timeout=200
    )

  key = 'round1/after/params/modules_actor/Dense_0/bias'
  path = save({**recorded, key: recorded[key] * (1 + 1e-3)})
  failed = run(path)
  assert failed.returncode == 1, failed.stderr
  assert 'params/modules_actor/Dense_0/bias  PAST THE' in failed.stdout
  assert run(path, '--tolerance=0.1').returncode == 0


def test_files_it_cannot_read(tmp_path, save, recorded, capsys):
  path = pathlib.Path(save({'input': np.zeros(2)}))
  assert _run(path) == 2
  error = capsys.readouterr().err
  assert 'none of the known kinds' in error
  assert "'sac'" in error
  path = pathlib.Path(save(recorded))
  path.write_bytes(path.read_bytes()[:-100])
  assert _run(path) == 2
  assert _run(tmp_path / 'missing.npz') == 2
  assert 'missing.npz' in capsys.readouterr().err
  np.save(tmp_path / 'one.npy', np.zeros(2))
  assert _run(tmp_path / 'one.npy') == 2
  np.savez(tmp_path / 'objects.npz', objects=np.array([{}], object))
  assert _run(tmp_path / 'objects.npz') == 2
  without = {k: v for k, v in recorded.items() if k != 'config/discount'}
  assert _run(save(without)) == 2
  assert "it lacks 'config/discount'" in capsys.readouterr().err
  (tmp_path / 'empty.npz').write_bytes(b'')
  assert _run(tmp_path / 'empty.npz') == 2
  assert parity.main(['parity']) == 2


@pytest.mark.parametrize(
  'changed, told',
  [
    ({'offsets_row_col': np.zeros((2, 2))}, ''),  # floats
    ({'offsets_row_col': np.zeros((3, 2), int)}, ''),  # of another image
    ({'offsets_row_col': np.full((2, 2), 9)}, 'expected 0 to twice'),
    ({'output': None}, 'nothing to compare'),
  ],
)
def test_crops_that_cannot_be_compared(changed, told, save, capsys):
  crop = {
    'input': np.zeros((2, 8, 8, 3), np.uint8),
    'output': np.zeros((2, 8, 8, 3), np.uint8),
    'offsets_row_col': np.zeros((2, 2), int),
    'padding': 4,
  }
  assert _run(save(crop)) == 0
  crop |= changed
  path = save({key: value for key, value in crop.items() if value is not None})
  assert _run(path) == 2
  printed = capsys.readouterr()
  assert f'Cannot compare {path}' in printed.err and told in printed.err
