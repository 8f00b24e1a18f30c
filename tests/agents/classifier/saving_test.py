"""Tests of saving."""

import dataclasses
import hashlib
import json
import os

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from serl import specs
from serl.agents.classifier import networks as classifier_networks
from serl.agents.classifier import saving
from serl.utils import checkpointing

SPEC = {
  'front': specs.BoundedArray((16, 16, 3), np.uint8, 0, 255),
  'tcp_pos': specs.Array((3,), np.float32),
}
OBSERVATION = {
  'front': np.full((16, 16, 3), 100, np.uint8),
  'tcp_pos': np.zeros(3, np.float32),
}


@pytest.fixture
def classifier(config):
  networks = classifier_networks.make_networks(SPEC, config.network)
  params = classifier_networks.init(networks, jax.random.PRNGKey(0))
  return saving.Classifier(config.network, networks, params, 0.75, {'a': 1})


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'new' / 'classifier.safetensors'


def test_comes_back_as_it_went(classifier, path):
  saving.save(path, classifier)
  found = saving.load(path, SPEC)
  assert found.config == classifier.config
  assert found.threshold == 0.75 and found.report == {'a': 1}
  jax.tree.map(np.testing.assert_array_equal, found.params, classifier.params)
  given = classifier.make_probability()(OBSERVATION)
  np.testing.assert_allclose(found.make_probability()(OBSERVATION), given)
  assert [p.name for p in path.parent.iterdir()] == [path.name]


def _report(area, positives):
  counts = {'true_positives': positives, 'false_negatives': 9 - positives}
  return {'area_under_curve': area, 'threshold': 0.75, 'confusion': counts}


@pytest.mark.parametrize(
  'report, message',
  [
    (_report(0.5, 3), 'curve on held-out episodes is 0.500, expected 0.9'),
    (_report(0.89, 3), 'is 0.890'),
    (_report(float('nan'), 3), 'is nan'),
    (_report(0.95, 0), 'at its threshold 0.75 it finds none of 9'),
  ],
)
def test_one_that_only_guesses_is_not_saved(
  classifier, path, report, message, caplog
):
  poor = classifier._replace(report=report)
  with pytest.raises(saving.PoorClassifierError, match=message):
    saving.save(path, poor)
  assert not path.exists()
  saving.save(path, poor, accept_poor=True)
  saving.load(path)
  assert message in caplog.text


def test_one_that_tells_success_is_saved(classifier, path, caplog):
  saving.save(path, classifier._replace(report=_report(0.9, 1)))
  assert saving.load(path).report['area_under_curve'] == 0.9
  assert not caplog.text


def test_what_it_does_not_look_at_may_differ(classifier, path):
  saving.save(path, classifier)
  other = {**SPEC, 'tcp_pos': specs.Array((7,), np.float32)}
  assert saving.load(path, other).threshold == 0.75


@pytest.mark.parametrize(
  'images, message',
  [
    ({'side': SPEC['front']}, 'front: missing, expected'),
    ({'front': specs.Array((32, 32, 3), np.uint8)}, r'front: .*32.*expected'),
    ({'front': specs.Array((16, 16, 3), np.float32)}, 'front: .*float32'),
  ],
)
def test_refuses_other_images(classifier, path, images, message):
  saving.save(path, classifier)
  with pytest.raises(saving.ClassifierFileError, match=message):
    saving.load(path, images)


def test_refuses_an_agents_checkpoint(tmp_path):
  checkpointer = checkpointing.Checkpointer(tmp_path / 'checkpoints')
  checkpointer.save(1, {'policy': np.ones(3, np.float32)}, {})
  for folder in (tmp_path, tmp_path / 'checkpoints'):
    with pytest.raises(saving.ClassifierFileError, match="is an agent's"):
      saving.load(folder)


def test_refuses_other_files(tmp_path, classifier, path):
  with pytest.raises(FileNotFoundError):
    saving.load(path)
  weights = tmp_path / 'weights.safetensors'
  safetensors.numpy.save_file({'w': np.ones(2)}, weights)
  with pytest.raises(saving.ClassifierFileError, match='something else'):
    saving.load(weights)
  saving.save(path, classifier)
  path.write_bytes(path.read_bytes()[:-10])
  with pytest.raises(saving.ClassifierFileError, match='damaged'):
    saving.load(path)
  with pytest.raises(ValueError, match=r'NAME\.safetensors'):
    saving.save(tmp_path / 'classifier.pkl', classifier)


def _rewrite(path, change):
  """Writes the file again with another header."""
  with safetensors.safe_open(path, framework='np') as file:
    header = json.loads(file.metadata()['serl'])
    names = file.keys()
    arrays = {name: file.get_tensor(name) for name in names}
  change(header, arrays)
  safetensors.numpy.save_file(arrays, path, {'serl': json.dumps(header)})


def test_refuses_another_version(classifier, path):
  saving.save(path, classifier)
  _rewrite(path, lambda header, arrays: header.update(version=3))
  with pytest.raises(
    saving.ClassifierFileError, match=r'version 3 .*expected 2'
  ):
    saving.load(path)


def test_refuses_other_arrays(classifier, path):
  saving.save(path, classifier)
  name = ".head['logit']['b']"

  def change(header, arrays):
    header.update(version=1)  # without a digest
    arrays.update({name: np.zeros(3)})

  _rewrite(path, change)
  with pytest.raises(saving.ClassifierFileError, match=r'logit.*expected'):
    saving.load(path)


def test_a_file_without_a_digest_is_read_with_a_warning(
  classifier, path, caplog
):
  saving.save(path, classifier)

  def change(header, _):
    header.update(version=1)
    del header['digest']

  _rewrite(path, change)
  assert saving.load(path).threshold == 0.75
  assert 'has no digest' in caplog.text


def test_no_changed_byte_goes_unseen(classifier, path):
  saving.save(path, classifier)
  whole = path.read_bytes()
  rng = np.random.default_rng(0)
  places = [*range(64), *rng.integers(len(whole), size=200)]
  for place in places:
    damaged = bytearray(whole)
    damaged[place] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    with pytest.raises(saving.ClassifierFileError, match=path.name):
      saving.load(path)
  for content in (b'', bytes(len(whole)), whole[: len(whole) // 2]):
    path.write_bytes(content)
    with pytest.raises(saving.ClassifierFileError, match='damaged'):
      saving.load(path)


@pytest.mark.parametrize(
  'change',
  [
    lambda header, _: header.update(threshold=0.1),
    lambda header, _: header.pop('digest'),
    lambda header, _: header.pop('network'),
    lambda _, arrays: arrays.popitem(),
  ],
)
def test_what_was_changed_after_it_was_saved_is_refused(
  classifier, path, change
):
  saving.save(path, classifier)
  _rewrite(path, change)
  with pytest.raises(saving.ClassifierFileError, match='damaged'):
    saving.load(path)


def test_frozen_weights_are_named_by_their_hash(classifier, path, tmp_path):
  weights = tmp_path / 'weights.pkl'
  weights.write_bytes(b'weights')
  frozen = dataclasses.replace(
    classifier.config.encoder, kind='frozen_resnet10', weights=str(weights)
  )
  config = dataclasses.replace(classifier.config, encoder=frozen)
  saving.save(path, classifier._replace(config=config))
  digest = hashlib.sha256(b'weights').hexdigest()
  with pytest.raises(saving.ClassifierFileError, match=digest[:16]):
    saving.load(path)
  other = tmp_path / 'other.pkl'
  other.write_bytes(b'others')
  with pytest.raises(saving.ClassifierFileError, match=f'{digest}, not on'):
    saving.load(path, weights=str(other))


@pytest.mark.parametrize(
  'changes, named',
  [
    ({'images': {}}, '0 images'),
    (
      {'images': {'a': {'shape': [10**9, 4, 3], 'dtype': 'uint8'}}},
      'the image a is',
    ),
    ({'images': dict.fromkeys(map(str, range(10**4)))}, '10000 images'),
    ({'network': {}}, 'its encoder is'),
    ({'network': {'encoder': {'features': [1] * 10**5}}}, 'its encoder is'),
    ({'network': {'encoder': {'features': ['a']}}}, 'no classifier'),
    ({'threshold': -1}, 'threshold is -1'),
    ({'threshold': None}, 'threshold is None'),
    ({'report': 1}, 'report is 1'),
    ({'report': {'area_under_curve': 'a'}}, 'no classifier'),
    ({'report': {'confusion': {'true_positives': 0}}}, 'no classifier'),
  ],
)
def test_a_header_of_anything_else_is_refused(classifier, path, changes, named):
  saving.save(path, classifier)
  with safetensors.safe_open(path, framework='np') as file:
    header = json.loads(file.metadata()['serl'])
    arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
  # Of what was never anything else the digest is right.
  header.update(changes)
  header['digest'] = saving._digest(header, arrays)
  safetensors.numpy.save_file(arrays, path, {'serl': json.dumps(header)})
  with pytest.raises(saving.ClassifierFileError, match=named):
    saving.load(path)


@pytest.mark.parametrize(
  'content, named',
  [
    ('[' * 10**5, 'header is no JSON'),
    ('[]', r"the header '\[\]', expected the format"),
  ],
)
def test_a_header_that_is_none_is_refused(path, content, named):
  path.parent.mkdir()
  safetensors.numpy.save_file({'a': np.ones(2)}, path, {'serl': content})
  with pytest.raises(saving.ClassifierFileError, match=named):
    saving.load(path)


def test_a_header_of_any_depth_is_refused(path):
  path.parent.mkdir()
  for depth in range(500, 1000):
    header = {'format': saving.FORMAT, 'version': 2, 'report': 0}
    nested = '[' * depth + ']' * depth
    content = json.dumps(header).replace('0', nested)
    safetensors.numpy.save_file({'a': np.ones(2)}, path, {'serl': content})
    with pytest.raises(saving.ClassifierFileError, match='is damaged'):
      saving.load(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
  os.mkfifo(tmp_path / 'a.safetensors')
  with pytest.raises(OSError, match='expected a regular file'):
    saving.load(tmp_path / 'a.safetensors')
