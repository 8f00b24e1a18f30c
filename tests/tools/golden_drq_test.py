"""Tests of golden_drq: on a file of small networks that is made here."""

import itertools

import jax
import numpy as np
import pytest

from serl.tools import golden_drq
from serl.tools import parity

CAMERAS = ('front', 'wrist')
ROWS, ACTIONS, STATE, CRITICS, SIZE = 3, 2, 5, 4, 32
CHANNELS = (3, 4, 5, 6, 7)
WIDTH = 8


def _inputs():
  """Returns what a replay reads, under the reference's names."""
  random = np.random.default_rng(0)
  normal = lambda *shape: random.normal(0, 0.3, shape).astype(np.float32)
  pixels = lambda *shape: random.integers(0, 256, shape, np.uint8)
  golden = {
    'config/critic_ensemble_size': np.int64(CRITICS),
    'config/critic_subsample_size': np.int64(2),
    'config/discount': np.float64(0.9),
    'config/soft_target_update_rate': np.float64(0.01),
    'config/target_entropy': np.float64(-1.0),
    'config/backup_entropy': np.bool_(False),
    'forward/actions': np.tanh(normal(ROWS, ACTIONS)),
    'forward/observations/state': normal(ROWS, 1, STATE),
  }
  encoder = 'modules_actor/encoder'
  shapes = {
    f'{encoder}/Dense_0/kernel': (STATE, WIDTH),
    f'{encoder}/Dense_0/bias': (WIDTH,),
    f'{encoder}/LayerNorm_0/scale': (WIDTH,),
    f'{encoder}/LayerNorm_0/bias': (WIDTH,),
    'modules_critic/Dense_0/kernel': (WIDTH, 1),
    'modules_critic/Dense_0/bias': (1,),
    'modules_temperature/lagrange': (),
  }
  for camera in CAMERAS:
    golden[f'forward/observations/{camera}'] = pixels(ROWS, 1, SIZE, SIZE, 3)
    root = f'{encoder}/encoder_{camera}'
    for i, (less, more) in enumerate(itertools.pairwise(CHANNELS)):
      shapes[f'{root}/Conv_{i}/kernel'] = (3, 3, less, more)
      shapes[f'{root}/Conv_{i}/bias'] = (more,)
    shapes[f'{root}/Dense_0/kernel'] = (CHANNELS[-1], WIDTH)
    for leaf in ('Dense_0/bias', 'LayerNorm_0/scale', 'LayerNorm_0/bias'):
      shapes[f'{root}/{leaf}'] = (WIDTH,)
  embedding = 3 * WIDTH
  for net, lead, inputs in (
    ('actor', (), embedding),
    ('critic', (CRITICS,), embedding + ACTIONS),
  ):
    root = f'modules_{net}/network'
    for i, size in enumerate((inputs, WIDTH)):
      shapes[f'{root}/Dense_{i}/kernel'] = (*lead, size, WIDTH)
      for leaf in ('Dense_%d/bias', 'LayerNorm_%d/scale', 'LayerNorm_%d/bias'):
        shapes[f'{root}/{leaf % i}'] = (*lead, WIDTH)
  for i in range(2):
    shapes[f'modules_actor/Dense_{i}/kernel'] = (WIDTH, ACTIONS)
    shapes[f'modules_actor/Dense_{i}/bias'] = (ACTIONS,)
  golden |= {f'init/params/{k}': normal(*shape) for k, shape in shapes.items()}
  for i in range(3):
    step = f'step{i}'
    golden |= {
      f'{step}/batch/observations/state': normal(ROWS, 1, STATE),
      f'{step}/batch/next_observations/state': normal(ROWS, 1, STATE),
      f'{step}/batch/actions': np.tanh(normal(ROWS, ACTIONS)),
      f'{step}/batch/rewards': normal(ROWS),
      f'{step}/batch/masks': np.ones(ROWS, np.float32),
      f'{step}/crop_obs': random.integers(0, 9, (ROWS, 2), np.int32),
      f'{step}/crop_next_obs': random.integers(0, 9, (ROWS, 2), np.int32),
      f'{step}/critic/next_eps': normal(ROWS, ACTIONS),
      f'{step}/critic/subsample_idcs': np.array([i, 3], np.int32),
      **{
        f'{step}/info/{net}_lr': np.float32(3e-4)
        for net in ('actor', 'critic', 'temperature')
      },
    }
    for camera in CAMERAS:
      golden[f'{step}/batch/observations/{camera}'] = pixels(
        ROWS, 2, SIZE, SIZE, 3
      )
  golden['step2/actor/eps'] = normal(ROWS, ACTIONS)
  golden['step2/temperature/next_eps'] = normal(ROWS, ACTIONS)
  return golden


@pytest.fixture(scope='module')
def computed():
  """What a replay of `_inputs` computes; it compiles anew each time."""
  return list(golden_drq.replay(_inputs()))


@pytest.fixture
def golden(computed):
  return _inputs() | {key: np.asarray(value) for _, key, value in computed}


def test_everything_but_the_inputs_is_compared(golden, computed):
  assert parity.find_kind(golden).is_golden is golden_drq.is_golden
  comparison = parity.compare(golden, computed, golden_drq.INPUTS)
  assert comparison.skipped == []
  leaves = [k for k in golden if k.startswith('init/params/')]
  assert comparison.groups['final/params'].arrays == len(leaves)
  assert comparison.groups['final/target_params'].arrays == len(leaves)
  assert max(worst.error for worst in comparison.groups.values()) == 0


def test_a_wrong_number_is_noticed_in_its_group(golden, computed):
  path = 'modules_actor/encoder/encoder_wrist/Conv_2/kernel'
  wrong = golden[f'final/params/{path}'].copy()
  wrong[0, 0, 0, 0] += 0.1
  wrong = golden | {f'final/params/{path}': wrong}
  comparison = parity.compare(wrong, computed, golden_drq.INPUTS)
  past = [k for k, w in comparison.groups.items() if w.error > 1e-4]
  assert past == ['final/params']
  assert comparison.groups['final/params'].key.endswith(path)


def test_recorded_crops_are_applied(golden):
  """Another crop of the next observations changes these and no others."""
  offsets = 8 - golden['step0/crop_next_obs']
  batch = golden_drq.read_batch(golden, 'step0')
  other = golden_drq.read_batch(
    golden | {'step0/crop_next_obs': offsets}, 'step0'
  )
  for camera in CAMERAS:
    before, after = (
      batch.next_observation[camera],
      other.next_observation[camera],
    )
    assert (before != after).any()
    np.testing.assert_array_equal(
      batch.observation[camera], other.observation[camera]
    )


def test_the_critics_last_layer_is_trained_for_all_of_them(golden):
  path = 'modules_critic/Dense_0/kernel'
  before, after = golden[f'init/params/{path}'], golden[f'final/params/{path}']
  assert after.shape == (WIDTH, 1)
  # Adam's first steps are of the learning rate's size in every entry.
  assert np.all(np.abs(after - before) > 1e-5)
  assert jax.tree.all(jax.tree.map(np.all, np.abs(after - before) < 3e-3))
