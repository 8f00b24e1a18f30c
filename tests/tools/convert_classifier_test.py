"""Tests of convert_classifier."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from serl import specs
from serl.agents import classifier
from serl.agents.classifier import importing
from serl.networks import pretrained
from serl.tools import convert_classifier

ENCODER = 'encoder_def/encoder_front/'


@pytest.fixture(scope='module')
def arrays():
  """What a classifier of SERL's with one camera of 32 x 32 learned."""
  rng = np.random.default_rng(0)
  shapes = {
    'Dense_0/kernel': (3, 4),
    'Dense_0/bias': (4,),
    'LayerNorm_0/scale': (4,),
    'LayerNorm_0/bias': (4,),
    'Dense_1/kernel': (4, 1),
    'Dense_1/bias': (1,),
    f'{ENCODER}SpatialLearnedEmbeddings_0/kernel': (1, 1, 512, 2),
    f'{ENCODER}Dense_0/kernel': (1024, 3),
    f'{ENCODER}Dense_0/bias': (3,),
    f'{ENCODER}LayerNorm_0/scale': (3,),
    f'{ENCODER}LayerNorm_0/bias': (3,),
  }
  for name, (_, _, shape) in pretrained.expected_arrays().items():
    shapes[f'{ENCODER}pretrained_encoder/{name}'] = shape
  return {
    name: 0.1 * rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


@pytest.fixture(scope='module')
def source(arrays, tmp_path_factory):
  folder = tmp_path_factory.mktemp('serl') / 'classifier_ckpt'
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
    state = {'step': 100, 'params': specs.unflatten(arrays), 'opt_state': [{}]}
    checkpointer.save(folder / 'checkpoint_100', state)
  return folder


def test_what_is_written_loads_as_the_same(arrays, source, tmp_path, capsys):
  target = tmp_path / 'classifier' / 'classifier.safetensors'
  convert_classifier.main([str(source), str(target), '--threshold=0.85'])
  assert 'success above 0.85 by the images front [32, 32, 3]' in (
    capsys.readouterr().out
  )
  observed = {'front': specs.Array((32, 32, 3), np.uint8)}
  found = classifier.load(target, observed)
  expected = importing.from_serl(arrays, 'here')
  assert found.threshold == 0.85
  jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
  image = np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
  assert 0 < found.make_probability()({'front': image}) < 1


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--cameras=wrist_1,wrist_2'], "cameras ['front'], not at ['wrist_1'"),
    (['--threshold=1'], 'threshold is 1.0, expected in [0, 1)'),
    (['--weights=resnet10_params.pkl'], 'leave out resnet10_params.pkl'),
  ],
)
def test_what_does_not_fit_is_told_in_a_line(
  source, tmp_path, capsys, flags, message
):
  target = tmp_path / 'classifier.safetensors'
  with pytest.raises(SystemExit) as stopped:
    convert_classifier.main([str(source), str(target), *flags])
  assert stopped.value.code == 2
  assert message in capsys.readouterr().err
  assert not target.exists()


def test_what_is_no_checkpoint(tmp_path, capsys):
  target = str(tmp_path / 'classifier.safetensors')
  with pytest.raises(SystemExit):
    convert_classifier.main([str(tmp_path / 'absent'), target])
  assert 'expected a checkpoint_STEP that flax wrote' in capsys.readouterr().err
