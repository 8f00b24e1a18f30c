"""Tests of test_classifier: on a classifier and files made here."""

import json

import numpy as np
import pytest

from serl import specs
from serl import types
from serl.agents.classifier import config as classifier_config
from serl.agents.classifier import saving
from serl.agents.classifier import training
from serl.demos import files
from serl.networks import encoders
from serl.tools import test_classifier as tool

SPEC = specs.EnvironmentSpec(
  observations={'front': specs.BoundedArray((16, 16, 3), np.uint8, 0, 255)},
  actions=specs.BoundedArray((2,), np.float32, -1.0, 1.0),
  rewards=specs.Array((), np.float32),
  discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
)


def _episode(labels, seed):
  """Dark is failure, bright is success."""
  noise = np.random.default_rng(seed).integers(0, 60, (len(labels) + 1, 16, 16))
  shown = 150 * np.concatenate([[0], labels])[:, None, None]
  images = np.repeat((noise + shown)[..., None], 3, axis=-1)
  steps = len(labels)
  return types.Episode(
    observation={'front': images.astype(np.uint8)},
    action=np.zeros((steps, 2), np.float32),
    reward=np.zeros(steps, np.float32),
    discount=np.ones(steps, np.float32),
    extras={'success': np.asarray(labels, np.uint8)},
  )


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
  network = classifier_config.NetworkConfig(
    encoder=encoders.EncoderConfig(features=(4, 4), bottleneck_size=8),
    hidden_size=8,
  )
  config = classifier_config.ClassifierConfig(
    network, batch_size=8, training_steps=60, learning_rate=1e-2
  )
  episodes = [_episode([0, 0, 1, 1], seed) for seed in range(4)]
  trained, _ = training.train(config, episodes)
  path = tmp_path_factory.mktemp('classifier') / 'classifier.safetensors'
  saving.save(path, trained)
  return path


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'data'
  folder.mkdir()
  for seed in range(2):
    files.write(folder / f'{seed}.npz', _episode([0, 1, 1], 9 + seed), SPEC)
  return folder


def test_prints_and_writes_the_numbers(classifier, folder, tmp_path, capsys):
  output = tmp_path / 'output'
  tool.main([str(classifier), str(folder), f'--output={output}'])
  found = json.loads((output / 'report.json').read_text())
  assert found['confusion']['true_positives'] == 4
  assert found['confusion']['true_negatives'] == 2
  assert (output / 'report.png').exists()
  printed = capsys.readouterr().out
  assert 'area_under_curve: 1.0' in printed and 'report.png' in printed
  tool.main(
    [str(classifier), str(folder), '--threshold=1', f'--output={output}']
  )
  found = json.loads((output / 'report.json').read_text())
  assert found['confusion']['false_negatives'] == 4


def test_says_what_is_wrong(classifier, folder, tmp_path, capsys):
  for arguments, message in (
    ([classifier, tmp_path / 'none'], 'no such file or folder'),
    ([folder, folder], 'is a folder, expected a classifier'),
    ([classifier, folder, '--threshold=2'], 'threshold is 2'),
  ):
    with pytest.raises(SystemExit):
      tool.main([str(argument) for argument in arguments])
    assert message in capsys.readouterr().err
