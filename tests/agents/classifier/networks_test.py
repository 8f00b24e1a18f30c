"""Tests of networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl import specs
from serl.agents.classifier import networks as classifier_networks

SPEC = {
  'front': specs.Array((16, 16, 3), np.uint8),
  'tcp_pos': specs.Array((3,), np.float32),
  'wrist': specs.Array((16, 16, 3), np.uint8),
}


def _images(seed, rows=3):
  rng = np.random.default_rng(seed)
  return {
    name: rng.integers(0, 256, (rows, 16, 16, 3)).astype(np.uint8)
    for name in ('front', 'wrist')
  }


def _make(config, cameras):
  network = dataclasses.replace(config.network, cameras=cameras)
  networks = classifier_networks.make_networks(SPEC, network)
  return networks, classifier_networks.init(networks, jax.random.PRNGKey(0))


def test_looks_at_its_cameras_alone(config):
  networks, params = _make(config, ('front',))
  observation = {**_images(0), 'tcp_pos': np.zeros((3, 3), np.float32)}
  logits = classifier_networks.classify(networks, params, observation)
  assert logits.shape == (3,)
  other = {**observation, 'wrist': _images(1)['wrist']}
  np.testing.assert_array_equal(
    classifier_networks.classify(networks, params, other), logits
  )
  other = {**observation, 'front': _images(1)['front']}
  changed = classifier_networks.classify(networks, params, other)
  assert not np.allclose(changed, logits)


def test_the_head_by_hand(config):
  networks, params = _make(config, None)
  embedding = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
  head = jax.tree.map(np.asarray, params.head)
  hidden = embedding @ head['hidden']['w'] + head['hidden']['b']
  centred = hidden - hidden.mean(axis=-1, keepdims=True)
  normal = centred / np.sqrt(hidden.var(axis=-1, keepdims=True) + 1e-6)
  expected = np.maximum(normal, 0) @ head['logit']['w'] + head['logit']['b']
  np.testing.assert_allclose(
    networks.head.apply(params.head, jnp.asarray(embedding), None),
    expected[:, 0],
    rtol=1e-4,
    atol=1e-5,
  )


def test_dropout_needs_a_key(config):
  networks, params = _make(config, None)
  embedding = jax.random.normal(jax.random.PRNGKey(1), (4, 16))
  logits = [
    networks.head.apply(params.head, embedding, key)
    for key in (None, None, jax.random.PRNGKey(0), jax.random.PRNGKey(1))
  ]
  np.testing.assert_array_equal(logits[0], logits[1])
  assert not np.allclose(logits[0], logits[2])
  assert not np.allclose(logits[2], logits[3])


def test_the_probability_of_one_observation(config):
  networks, params = _make(config, None)
  images = _images(0)
  logits = classifier_networks.classify(networks, params, images)
  probability = classifier_networks.make_probability(networks, params)
  first = probability({name: image[0] for name, image in images.items()})
  np.testing.assert_allclose(first, jax.nn.sigmoid(logits[0]), rtol=1e-5)


def test_refuses_a_camera_that_is_not_there(config):
  with pytest.raises(ValueError, match=r"no image side .*'front', 'wrist'"):
    _make(config, ('side',))
  state = {'tcp_pos': SPEC['tcp_pos']}
  with pytest.raises(ValueError, match='no image at all'):
    classifier_networks.select_images(state, None)
  networks, params = _make(config, None)
  without = {'front': _images(0)['front']}
  with pytest.raises(ValueError, match='has no wrist'):
    classifier_networks.classify(networks, params, without)
