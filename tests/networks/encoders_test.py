"""Tests of encoders."""

import dataclasses
import hashlib
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from serl import specs
from serl.networks import encoders
from serl.networks import pretrained

SMALL = encoders.EncoderConfig(
  features=(4, 6), bottleneck_size=8, proprioception_size=5, spatial_features=2
)
SPEC = {
  'front': specs.BoundedArray((32, 32, 3), np.uint8, 0, 255),
  'arm': {'tcp_pos': specs.BoundedArray((3,), np.float32, -2.0, 2.0)},
  'wrist': specs.BoundedArray((32, 40, 3), np.uint8, 0, 255),
  'gripper_pos': specs.Array((1,), np.float32),
}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A file of random weights of a trunk."""
  random = np.random.default_rng(0)
  arrays = {
    name: random.normal(size=shape).astype(np.float32) / shape[0]
    for name, (_, _, shape) in pretrained.expected_arrays().items()
  }
  path = tmp_path_factory.mktemp('weights') / 'trunk.safetensors'
  safetensors.numpy.save_file(arrays, path)
  return str(path)


@pytest.fixture
def frozen(weights):
  return dataclasses.replace(SMALL, kind='frozen_resnet10', weights=weights)


def _draw(spec, batch=2, seed=0):
  random = np.random.default_rng(seed)

  def draw(leaf):
    shape = (batch, *leaf.shape)
    if leaf.dtype == np.uint8:
      return random.integers(0, 256, shape, np.uint8)
    return random.normal(size=shape).astype(np.float32)

  return jax.tree.map(draw, spec)


def _make(spec, config):
  """Returns an encoder and random parameters of the shapes it asks for."""
  encoder = encoders.make_encoder(spec, config)
  shapes = jax.eval_shape(encoder.init, jax.random.PRNGKey(0))
  random = np.random.default_rng(1)
  params = jax.tree.map(
    lambda x: jnp.asarray(random.normal(0, 0.3, x.shape), x.dtype), shapes
  )
  return encoder._replace(apply=jax.jit(encoder.apply)), params


def _without(spec, *names):
  return {name: leaf for name, leaf in spec.items() if name not in names}


def test_images_are_told_from_what_else_is_observed():
  stack = specs.Array((2, 8, 8, 3), np.uint8)
  spec = {
    'b': {'camera': SPEC['front']},
    'a': stack,
    'flags': specs.Array((4,), np.uint8),
    'depth': specs.Array((8, 8, 1), np.float32),
  }
  assert encoders.image_paths(spec) == ('a', 'b/camera')


def test_cameras_may_be_called_by_their_serial_numbers():
  spec = {'127122270146': SPEC['front'], 'side-2': SPEC['wrist']}
  _, params = _make(spec, SMALL)
  names = {name.split('/')[0] for name in params}
  assert names == {'camera_127122270146', 'side_2'}


def test_every_camera_has_its_part_of_the_embedding():
  encoder, params = _make(SPEC, SMALL)
  assert encoder.size == 8 + 8 + 5
  observation = _draw(SPEC)
  before = encoder.apply(params, observation)
  assert before.shape == (2, 21)
  parts = {
    'front': slice(0, 8),
    'wrist': slice(8, 16),
    'gripper_pos': slice(16, 21),
  }
  for name, part in parts.items():
    changed = observation | {name: 1 - observation[name]}
    differs = (encoder.apply(params, changed) != before).any(0)
    assert differs[part].all()
    assert differs.sum() == differs[part].sum()


def test_parameters_start_within_the_limits_of_their_fans():
  params = encoders.make_encoder(SPEC, SMALL).init(jax.random.PRNGKey(0))
  for module, fans in (
    ('front/trunk/conv_0', 9 * 3 + 9 * 4),
    ('wrist/bottleneck/linear_0', 6 + 8),
    ('proprioception/linear_0', 4 + 5),
  ):
    limit = np.sqrt(6 / fans)
    assert 0.7 * limit < abs(params[module]['w']).max() <= limit
    assert not params[module]['b'].any()
  one, other = (
    params[f'{path}/trunk/conv_0']['w'] for path in ('front', 'wrist')
  )
  assert (one != other).all()


def test_proprioception_worked_by_hand():
  spec = {'front': SPEC['front'], 'x': specs.BoundedArray((2,), float, 0, 4)}
  observation = _draw(spec) | {'x': np.array([[4.0, 1.0], [0.0, 2.0]])}
  for scale, x in (
    (False, [[4.0, 1.0], [0.0, 2.0]]),
    (True, [[1.0, -0.5], [-1.0, 0.0]]),
  ):
    config = dataclasses.replace(
      SMALL, proprioception_size=2, scale_proprioception=scale
    )
    encoder, params = _make(spec, config)
    params['proprioception/linear_0'] = {'w': jnp.eye(2), 'b': jnp.zeros(2)}
    params['proprioception/layer_norm_0'] = {
      'scale': jnp.ones(2),
      'offset': jnp.zeros(2),
    }
    embedding = encoder.apply(params, observation)[:, -2:]
    # LayerNorm of two numbers is the sign of their difference.
    sign = np.sign(np.subtract(*np.transpose(x)))
    np.testing.assert_allclose(
      embedding, np.tanh(np.stack([sign, -sign], -1)), atol=1e-4
    )


def test_without_proprioception_there_is_no_layer_for_it():
  encoder, params = _make({'front': SPEC['front']}, SMALL)
  assert encoder.size == 8
  assert not any('proprioception' in module for module in params)


@pytest.mark.parametrize('kind', ['average', 'max', 'spatial_softmax'])
def test_pooling_is_as_configured(kind):
  spec = {'front': SPEC['front']}
  config = dataclasses.replace(SMALL, pooling=kind)
  encoder, params = _make(spec, config)
  width = 2 * 6 if kind == 'spatial_softmax' else 6
  assert params['front/bottleneck/linear_0']['w'].shape == (width, 8)
  assert encoder.apply(params, _draw(spec)).shape == (2, 8)


def test_stacked_frames_are_folded_into_channels():
  spec = {'front': specs.Array((3, 16, 16, 2), np.uint8)}
  encoder, params = _make(spec, SMALL)
  assert params['front/trunk/conv_0']['w'].shape == (3, 3, 6, 4)
  # A kernel that reads the last frame's first channel alone.
  params['front/trunk/conv_0']['w'] *= np.eye(6)[4][:, None]
  observation = _draw(spec)
  before = encoder.apply(params, observation)
  other = observation['front'].copy()
  other[:, :2] = 0
  other[:, 2, ..., 1] = 0
  np.testing.assert_array_equal(encoder.apply(params, {'front': other}), before)
  other[:, 2, ..., 0] = 0
  assert (encoder.apply(params, {'front': other}) != before).any()


def test_a_stack_of_one_is_a_single_image():
  spec = {'front': SPEC['front']}
  stacked = {'front': specs.Array((1, 32, 32, 3), np.uint8)}
  encoder, params = _make(spec, SMALL)
  observation = _draw(spec)
  stacked_encoder, _ = _make(stacked, SMALL)
  np.testing.assert_allclose(
    stacked_encoder.apply(params, {'front': observation['front'][:, None]}),
    encoder.apply(params, observation),
    rtol=1e-6,
  )


def test_resnets_are_trained_apart():
  config = dataclasses.replace(SMALL, kind='resnet10')
  encoder = encoders.make_encoder(SPEC, config)
  params = jax.eval_shape(encoder.init, jax.random.PRNGKey(0))
  for camera in ('front', 'wrist'):
    kernel = params[f'{camera}/resnet10/conv_init']['w']
    assert kernel.shape == (7, 7, 3, 64)
  embedding = jax.eval_shape(encoder.apply, params, _draw(SPEC))
  assert embedding.shape == (2, encoder.size)


def test_a_frozen_trunk_is_no_parameter(frozen):
  encoder, params = _make(SPEC, frozen)
  assert set(params) == {
    f'{path}/{layer}'
    for path in ('front/bottleneck', 'wrist/bottleneck', 'proprioception')
    for layer in ('linear_0', 'layer_norm_0')
  }
  assert sum(x.size for x in jax.tree.leaves(params)) < 10_000
  embedding = jax.eval_shape(encoder.apply, params, _draw(SPEC))
  assert embedding.shape == (2, 21)


def test_a_frozen_trunk_is_evaluated_once_for_all_cameras(frozen):
  image = SPEC['front']
  spec = {'front': image, 'side': image, 'wrist': image}
  encoder, params = _make(spec, frozen)
  observation = _draw(spec)

  jaxpr = jax.make_jaxpr(encoder.apply)(params, observation)
  assert str(jaxpr).count('conv_general_dilated[') == 12

  @jax.jit
  def both(params, target_params, observation):
    return [encoder.apply(p, observation) for p in (params, target_params)]

  # Online and target parameters: the compiler finds the same trunk in both.
  target_params = jax.tree.map(lambda x: x + 1, params)
  compiled = both.lower(params, target_params, observation).compile().as_text()
  assert len(re.findall(r' convolution\(', compiled)) == 12
  # Cameras that swap images and parameters swap embeddings.
  embedding, _ = both(params, target_params, observation)
  swap = {'front': 'wrist', 'wrist': 'front', 'side': 'side'}
  swapped, _ = both(
    {re.sub(r'^\w+', lambda m: swap[m[0]], k): v for k, v in params.items()},
    target_params,
    {swap[k]: v for k, v in observation.items()},
  )
  front, side, wrist = jnp.split(embedding, 3, axis=-1)
  np.testing.assert_allclose(
    swapped, jnp.concatenate([wrist, side, front], -1), rtol=1e-4, atol=1e-5
  )
  assert (abs(front - wrist) > 1e-3).any()


def test_frames_pass_a_frozen_trunk_one_by_one(frozen):
  spec = {'front': specs.Array((2, 32, 32, 3), np.uint8)}
  encoder, params = _make(spec, frozen)
  kernel = params['front/bottleneck/linear_0']['w']
  assert kernel.shape == (2 * 512, 8)
  # Frames in the other order, read by a kernel in the other order.
  observation = _draw(spec)
  turned = {'front': observation['front'][:, ::-1]}
  params_turned = params | {
    'front/bottleneck/linear_0': params['front/bottleneck/linear_0']
    | {'w': jnp.roll(kernel, 512, axis=0)}
  }
  np.testing.assert_allclose(
    encoder.apply(params_turned, turned),
    encoder.apply(params, observation),
    rtol=1e-4,
    atol=1e-5,
  )


def test_configurations_are_told_apart_by_plain_data(frozen, weights):
  described = frozen.describe()
  assert json.loads(json.dumps(described)) == described
  with open(weights, 'rb') as file:
    digest = hashlib.sha256(file.read()).hexdigest()
  assert described['weights'] == digest
  assert weights not in json.dumps(described)
  assert SMALL.describe()['weights'] is None


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('kind', 'vit', "kind is 'vit', expected 'small' or"),
    ('pooling', 'mean', "pooling is 'mean', expected 'average' or"),
    ('features', (8, 0), r'features\[1\] is 0'),
    ('features', (), r'features is \(\), expected'),
    ('bottleneck_size', 0, 'bottleneck_size is 0'),
    ('kind', 'frozen_resnet10', 'github.com/rail-berkeley/serl'),
    ('weights', 'trunk.pkl', "'trunk.pkl', expected None for the kind"),
  ],
)
def test_bad_configurations_are_refused(field, value, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(SMALL, **{field: value})


def test_absent_weights_are_named_when_the_networks_are_made():
  config = encoders.EncoderConfig(kind='frozen_resnet10', weights='no.pkl')
  with pytest.raises(FileNotFoundError, match=r'no\.pkl'):
    encoders.make_encoder(SPEC, config)
  with pytest.raises(FileNotFoundError, match=r'no\.pkl'):
    config.describe()


def test_specs_that_cannot_be_encoded_are_refused():
  with pytest.raises(ValueError, match=r"no image .* \['gripper_pos'\]"):
    encoders.make_encoder({'gripper_pos': SPEC['gripper_pos']}, SMALL)
  tiny = {'front': specs.Array((6, 32, 3), np.uint8)}
  with pytest.raises(ValueError, match='front is 6 x 32, expected at least 7'):
    encoders.make_encoder(tiny, SMALL)
  grey = {'front': specs.Array((32, 32, 1), np.uint8)}
  with pytest.raises(ValueError, match='front has 1 channels'):
    encoders.make_encoder(grey, dataclasses.replace(SMALL, kind='resnet10'))
  # It would pass for 3,072 numbers of proprioception.
  floats = {**SPEC, 'side': specs.Array((32, 32, 3), np.float32)}
  with pytest.raises(ValueError, match=r'side is float32 .* expected uint8'):
    encoders.make_encoder(floats, SMALL)


def test_an_encoder_of_state_puts_numbers_in_a_row():
  spec = {
    'b': specs.BoundedArray((1,), np.float32, 0.0, 4.0),
    'a': specs.Array((2,), np.float32),
  }
  observation = {'b': np.array([[4.0]]), 'a': np.array([[5.0, 6.0]])}
  for scale, expected in ((True, [5, 6, 1]), (False, [5, 6, 4])):
    encoder = encoders.make_state_encoder(spec, scale)
    assert encoder.init(jax.random.PRNGKey(0)) == {}
    assert encoder.size == 3
    np.testing.assert_allclose(encoder.apply({}, observation), [expected])


def test_an_encoder_of_state_refuses_images_of_floats():
  spec = {'front': specs.Array((32, 32, 3), np.float32)}
  with pytest.raises(ValueError, match='front is float32'):
    encoders.make_state_encoder(spec)


def test_an_encoder_of_state_refuses_images():
  spec = {
    'front': specs.BoundedArray((32, 32, 3), np.uint8, 0, 255),
    'tcp_pos': specs.Array((3,), np.float32),
  }
  with pytest.raises(ValueError, match=r'front is an image, .* with DrQ'):
    encoders.make_state_encoder(spec)


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda x: _without(x, 'wrist'), r"missing \['wrist'\]"),
    (lambda x: x | {'side': x['front']}, r"expected \['side'\]"),
    (
      lambda x: x | {'front': x['front'].astype(np.float32) / 255},
      'front is of float32, expected uint8',
    ),
    (
      lambda x: x | {'front': x['front'][:, :16]},
      r'front has shape \(2, 16, 32, 3\), expected \[B, 32, 32, 3\]',
    ),
    (
      lambda x: x | {'front': x['front'][0]},
      r'front has shape \(32, 32, 3\)',
    ),
    (lambda x: x | {'gripper_pos': np.zeros((2, 2))}, 'gripper_pos has shape'),
  ],
)
def test_observations_of_another_kind_are_refused(change, message):
  encoder, params = _make(SPEC, SMALL)
  with pytest.raises(ValueError, match=message):
    encoder.apply(params, change(_draw(SPEC)))
