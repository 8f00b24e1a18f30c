"""Tests of config."""

import pytest

from serl.agents.classifier import config as classifier_config


@pytest.mark.parametrize(
  'name, value',
  [
    ('crop_padding', -1),
    ('batch_size', 0),
    ('batch_size', 7),
    ('training_steps', 0),
    ('learning_rate', 0.0),
    ('held_out_fraction', 1.0),
    ('false_positive_rate', 1.0),
  ],
)
def test_refuses_what_makes_no_sense(name, value):
  with pytest.raises(ValueError, match=f'ClassifierConfig.{name} is {value}'):
    classifier_config.ClassifierConfig(**{name: value})


@pytest.mark.parametrize(
  'name, value', [('cameras', ()), ('hidden_size', 0), ('dropout_rate', 1.0)]
)
def test_refuses_such_networks(name, value):
  with pytest.raises(ValueError, match=rf'NetworkConfig.{name} is'):
    classifier_config.NetworkConfig(**{name: value})


def test_weights_make_it_a_frozen_resnet():
  network = classifier_config.serl(('front',), 'weights.pkl').network
  assert network.cameras == ('front',)
  assert network.encoder.kind == 'frozen_resnet10'
  assert classifier_config.cpu().network.encoder.kind == 'small'
