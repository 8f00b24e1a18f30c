"""A small agent with a camera, and its wrapping."""

import numpy as np
import pytest

from serl import specs
from serl import types
from serl.agents import drq
from serl.agents import rlpd
from serl.agents import sac
from serl.agents import vice
from serl.agents.classifier import config as classifier_config
from serl.networks import encoders

_ENCODER = encoders.EncoderConfig(features=(4, 4), bottleneck_size=8)


@pytest.fixture
def spec():
  """A camera and three numbers, two actions."""
  return specs.EnvironmentSpec(
    observations={
      'front': specs.BoundedArray((16, 16, 3), np.uint8, 0, 255),
      'tcp_pos': specs.Array((3,), np.float32),
    },
    actions=specs.BoundedArray((2,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


@pytest.fixture
def config():
  network = classifier_config.NetworkConfig(encoder=_ENCODER, hidden_size=8)
  return vice.VICEConfig(
    network,
    goals_per_minibatch=4,
    crop_padding=1,
    learning_rate=1e-2,
    gradient_penalty=0.1,
  )


@pytest.fixture
def agent():
  """DrQ with rounds of two minibatches of 8."""
  config = sac.SACConfig(
    batch_size=8,
    updates_per_round=2,
    critic_members=2,
    hidden_sizes=(8,),
    min_replay_size=10,
    replay_size=500,
  )
  return drq.DrQBuilder(drq.DrQConfig(sac=config, encoder=_ENCODER))


@pytest.fixture
def builder(agent, config):
  """VICE around RLPD: 4 rows online, 4 demonstrations, 4 goals."""
  return vice.VICEBuilder(rlpd.RLPDBuilder(agent), config)


@pytest.fixture
def make_batch(spec):
  """Makes a round's batch: dark images, but bright ones at the goals."""

  def make(seed=0, rows=12, bright=slice(8, None)):
    rng = np.random.default_rng(seed)
    lead = (2, rows)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)

    def observe():
      images = rng.integers(0, 60, (*lead, 16, 16, 3))
      images[:, bright] += 150
      return {'front': images.astype(np.uint8), 'tcp_pos': normal(*lead, 3)}

    return types.Batch.uniform(
      types.Transition(
        observe(),
        np.tanh(normal(*lead, 2)),
        np.full(lead, 7, np.float32),
        np.ones(lead, np.float32),
        observe(),
      )
    )

  return make
