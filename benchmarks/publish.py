"""From the publication of a policy to its use by an actor elsewhere.

python benchmarks/publish.py --agent=state
python benchmarks/publish.py --agent=frozen_resnet10

A learner of the cube pick trains at full speed in another process and
publishes; this process asks as an actor does, by gRPC with the key of a launch.
The times are those of one system-wide clock: from the end of the round to the
parameters on the actor's device. The frozen weights are random ones here.
"""

import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time

from absl import app
from absl import flags
import jax
import numpy as np
import portpicker
import report
import safetensors.numpy
import vision

from serl.agents import drq
from serl.agents import sac
from serl.agents import variables
from serl.environments.sim import pick_cube
from serl.networks import encoders
from serl.networks import pretrained
from serl.programs import config as config_lib
from serl.programs import training as training_lib
from serl.programs.distributed import keys
from serl.programs.distributed import rpc
from serl.programs.distributed import service
from serl.utils import loggers

_AGENT = flags.DEFINE_enum(
  'agent', 'state', ['state', 'frozen_resnet10'], 'Whose policy it is.'
)

_PAUSE = flags.DEFINE_float(
  'pause', 0.0, "Seconds after each round: a learner's on a GPU leaves cores."
)

_SECONDS = 20.0
_ROUND_S = 50.0
_PUBLISHED = 'published'  # the time of it, among the parameters


def _clock() -> np.float32:
  """The system-wide time; float32 on the device is fine to microseconds."""
  return np.float32(time.monotonic() % _ROUND_S)


class _StampedSAC(sac.SACBuilder):
  """An agent whose published parameters tell when they were published."""

  def policy_params(self, state):
    params = jax.block_until_ready(super().policy_params(state))
    return {'params': params, _PUBLISHED: _clock()}


class _StampedDrQ(drq.DrQBuilder):
  """The same from images."""

  def policy_params(self, state):
    params = jax.block_until_ready(super().policy_params(state))
    return {'params': params, _PUBLISHED: _clock()}


def _make_resnet_agent(folder: str) -> _StampedDrQ:
  """Returns an agent on a frozen ResNet-10 with random weights."""
  path = os.path.join(folder, 'resnet10.safetensors')
  random = np.random.default_rng(0)
  arrays = {
    name: random.normal(0, 0.05, shape).astype(np.float32)
    for name, (_, _, shape) in pretrained.expected_arrays().items()
  }
  safetensors.numpy.save_file(arrays, path)
  config = drq.serl()
  # Small rounds: what is timed begins when they end.
  return _StampedDrQ(
    dataclasses.replace(
      config,
      sac=dataclasses.replace(config.sac, batch_size=4, updates_per_round=1),
      encoder=encoders.EncoderConfig(
        kind='frozen_resnet10', weights=path, pooling='spatial_embeddings'
      ),
    )
  )


def _make_config(folder: str, agent: str) -> config_lib.RunConfig:
  """Returns a run; `folder` takes all that it leaves."""
  make_environment, builder = pick_cube.make, _StampedSAC()
  if agent != 'state':
    make_environment = pick_cube.make_vision
    builder = _make_resnet_agent(folder)
  return config_lib.RunConfig(
    run_dir=os.path.join(folder, 'run'),
    make_environment=make_environment,
    builder=builder,
    checkpoint_period_s=1e9,
    publish_every=10 if agent == 'state' else 1,
  )


def _learn(folder: str, port: int, agent: str, pause_s: float) -> None:
  """Trains and serves parameters until the process is ended."""
  config = _make_config(folder, agent)
  spec = config.make_spec()
  batch_spec = config.builder.batch_spec()
  lead = (batch_spec.updates_per_round, batch_spec.batch_size)
  batches = itertools.repeat(vision.make_batch(spec, lead))
  training = training_lib.Training(
    config, spec, batches, loggers.Dispatcher([])
  )
  key = keys.read(keys.path(pathlib.Path(folder)))
  server = rpc.Server(service.methods(training), f'127.0.0.1:{port}', key)
  try:
    while True:
      training.step(0, {})
      time.sleep(pause_s)
  finally:
    server.stop()


def _params_like(config: config_lib.RunConfig):
  """Returns parameters of those shapes; the stamp is no pure function's."""
  networks = config.builder.make_networks(config.make_spec())
  state = config.builder.make_algorithm(networks).init(jax.random.PRNGKey(0))
  return config.builder.policy_params(state)


def main(_) -> None:
  context = multiprocessing.get_context('spawn')
  port = portpicker.pick_unused_port()
  folder = tempfile.mkdtemp()
  key_file = keys.path(pathlib.Path(folder))
  keys.make(key_file)
  learner = context.Process(
    target=_learn, args=(folder, port, _AGENT.value, _PAUSE.value), daemon=True
  )
  learner.start()
  config = _make_config(folder, _AGENT.value)
  remote = service.RemoteLearner(
    rpc.Client(f'localhost:{port}', keys.read(key_file)),
    lambda: _params_like(config),
  )
  client = variables.VariableClient(remote)
  client.wait(300)
  delays, end = [], time.monotonic() + _SECONDS
  while time.monotonic() < end:
    if client.update():
      published = client.params[_PUBLISHED]
      delays.append(1e3 * float((_clock() - published) % _ROUND_S))
    time.sleep(0.001)
  learner.kill()
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(client.params))
  # The first ones wait for the compiler.
  delays = sorted(delays[2:])
  report.emit(
    'publish_to_use',
    agent=_AGENT.value,
    pause_s=_PAUSE.value,
    median_ms=statistics.median(delays),
    p90_ms=delays[int(0.9 * len(delays))],
    publications=len(delays),
    bytes=size,
  )


if __name__ == '__main__':
  app.run(main)
