"""Tests of importing.

That the logits are SERL's is tested where its recorded numbers are replayed, in
tools/golden_classifier_test.py. Those of checkpoints that the real flax has
written of such a network, at 128 x 128 too, agreed to 1e-6.
"""

import numpy as np
import pytest
import safetensors.numpy

from serl.agents.classifier import importing
from serl.agents.classifier import saving
from serl.networks import pretrained

SPATIAL, BOTTLENECK, HIDDEN = 2, 3, 4
ENCODER = 'encoder_def/encoder_'
TRUNK = f'{ENCODER}front/pretrained_encoder/'
KERNEL = 'Dense_0/kernel'


@pytest.fixture(scope='module')
def arrays():
  """What SERL's classifier of two cameras of 32 x 32 has, drawn at random."""
  rng = np.random.default_rng(0)
  shapes = {
    KERNEL: (2 * BOTTLENECK, HIDDEN),
    'Dense_0/bias': (HIDDEN,),
    'LayerNorm_0/scale': (HIDDEN,),
    'LayerNorm_0/bias': (HIDDEN,),
    'Dense_1/kernel': (HIDDEN, 1),
    'Dense_1/bias': (1,),
  }
  for camera in ('front', 'wrist'):
    shapes |= {
      f'{ENCODER}{camera}/SpatialLearnedEmbeddings_0/kernel': (
        *(1, 1, 512, SPATIAL),
      ),
      f'{ENCODER}{camera}/Dense_0/kernel': (512 * SPATIAL, BOTTLENECK),
      f'{ENCODER}{camera}/Dense_0/bias': (BOTTLENECK,),
      f'{ENCODER}{camera}/LayerNorm_0/scale': (BOTTLENECK,),
      f'{ENCODER}{camera}/LayerNorm_0/bias': (BOTTLENECK,),
    }
  for name, (_, _, shape) in pretrained.expected_arrays().items():
    shapes[f'{TRUNK}{name}'] = shape
  return {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def _without_trunk(arrays):
  return {k: x for k, x in arrays.items() if not k.startswith(TRUNK)}


def test_every_camera_gets_the_trunk_and_its_rows_of_the_head(arrays):
  made = importing.from_serl(arrays, 'here', ['wrist', 'front'], threshold=0.7)
  sizes = {path: leaf.shape for path, leaf in made.networks.image_spec.items()}
  assert sizes == {'front': (32, 32, 3), 'wrist': (32, 32, 3)}
  assert made.threshold == 0.7
  for camera in sizes:
    np.testing.assert_array_equal(
      made.params.encoder[f'{camera}/resnet10/block_2/conv_1']['w'],
      arrays[f'{TRUNK}ResNetBlock_2/Conv_1/kernel'],
    )
  np.testing.assert_array_equal(
    made.params.head['hidden']['w'], np.roll(arrays[KERNEL], BOTTLENECK, axis=0)
  )
  assert arrays[KERNEL].shape == (2 * BOTTLENECK, HIDDEN)


def test_the_trunk_comes_from_its_own_file(arrays, tmp_path):
  weights = tmp_path / 'trunk.safetensors'
  trunk = {
    name.removeprefix(TRUNK): array
    for name, array in arrays.items()
    if name.startswith(TRUNK)
  }
  unused = {'unused': np.zeros(2, np.float32)}
  safetensors.numpy.save_file(trunk | unused, weights)
  made = importing.from_serl(
    _without_trunk(arrays), 'here', image_size=20, weights=str(weights)
  )
  assert made.networks.image_spec['wrist'].shape == (20, 20, 3)
  for camera in ('front', 'wrist'):
    found = made.params.encoder[f'{camera}/resnet10/conv_init']['w']
    np.testing.assert_array_equal(found, trunk['conv_init/kernel'])
  # In the order of SERL's own scripts the rows stay where they are.
  head = made.params.head['hidden']['w']
  np.testing.assert_array_equal(head, arrays[KERNEL])
  with pytest.raises(saving.ClassifierFileError, match=r'leave out .*trunk'):
    importing.from_serl(arrays, 'here', weights=str(weights))


@pytest.mark.parametrize(
  'change, message',
  [
    ({'Dense_1/bias': None}, 'Dense_1/bias: missing, expected'),
    ({'Dense_1/bias': np.zeros(3)}, r'Dense_1/bias: \[3\], expected \[1\]'),
    # A dense layer for proprioception, which SERL's classifier has none of.
    ({'encoder_def/Dense_0/bias': np.zeros(64)}, r'\[64\], not expected'),
    ({'Dense_1/bias': np.array([np.nan])}, 'Dense_1/bias: not finite'),
    ({KERNEL: None}, 'here has no Dense_0/kernel of 2 axes'),
    ({f'{TRUNK}conv_init/kernel': None}, 'conv_init/kernel: missing'),
  ],
)
def test_refuses_other_networks(arrays, change, message):
  changed = {**arrays, **change}
  changed = {name: x for name, x in changed.items() if x is not None}
  with pytest.raises(saving.ClassifierFileError, match=message):
    importing.from_serl(changed, 'here')


def test_refuses_images_of_another_size(arrays):
  expected = r'here, with the images front \[64, 64, 3\], wrist .*\[2, 2, 512'
  with pytest.raises(saving.ClassifierFileError, match=f'(?s){expected}'):
    importing.from_serl(arrays, 'here', image_size=64)
  with pytest.raises(ValueError, match='image_size is 0'):
    importing.from_serl(arrays, 'here', image_size=0)


@pytest.mark.parametrize(
  'cameras', [['front'], ['front', 'side'], ['front', 'wrist', 'wrist']]
)
def test_refuses_other_cameras(arrays, cameras):
  with pytest.raises(saving.ClassifierFileError, match=r"\['front', 'wrist'\]"):
    importing.from_serl(arrays, 'here', cameras)


def test_refuses_what_is_no_classifier(arrays):
  agent = {f'modules_actor/encoder/{k}': x for k, x in arrays.items()}
  with pytest.raises(saving.ClassifierFileError, match="here is an agent's"):
    importing.from_serl(agent, 'here')
  head = {'Dense_0/kernel': arrays[KERNEL]}
  with pytest.raises(saving.ClassifierFileError, match=r"\['Dense_0'\], exp"):
    importing.from_serl(head, 'here')
  with pytest.raises(saving.ClassifierFileError, match=r'resnet10_params\.pkl'):
    importing.from_serl(_without_trunk(arrays), 'here')
  with pytest.raises(ValueError, match=r'threshold is 50, expected in \[0, 1'):
    importing.from_serl(arrays, 'here', threshold=50)
