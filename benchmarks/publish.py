"""From the publication of a policy to its use by an actor elsewhere.

python benchmarks/publish.py

A learner of the cube pick trains at full speed in another process and
publishes; this process asks as an actor does, over Courier. The times are those
of one system-wide clock: from the end of the round to the parameters on the
actor's device.
"""

import itertools
import multiprocessing
import statistics
import tempfile
import time

import courier
import jax
import numpy as np
import portpicker
import report
import sac_round

from serl.agents import variables
from serl.agents.sac import builder as sac_builder
from serl.environments.sim import pick_cube
from serl.programs import config as config_lib
from serl.programs import training as training_lib
from serl.utils import loggers

_SECONDS = 20.0
_ROUND_S = 50.0
_PUBLISHED = 'published'  # the time of it, among the parameters


def _clock() -> np.float32:
  """The system-wide time; float32 on the device is fine to microseconds."""
  return np.float32(time.monotonic() % _ROUND_S)


class _Stamped(sac_builder.SACBuilder):
  """SAC whose published parameters tell when they were published."""

  def policy_params(self, state):
    params = super().policy_params(state)
    return {'params': params, _PUBLISHED: _clock()}


def _learn(port: int) -> None:
  """Trains and serves parameters until the process is ended."""
  config = config_lib.RunConfig(
    run_dir=tempfile.mkdtemp(),
    make_environment=pick_cube.make,
    builder=_Stamped(),
    checkpoint_period_s=1e9,
  )
  spec = config.make_spec()
  batch_spec = config.builder.batch_spec()
  lead = (batch_spec.updates_per_round, batch_spec.batch_size)
  batches = itertools.repeat(sac_round.make_batch(spec, lead))
  training = training_lib.Training(
    config, spec, batches, loggers.Dispatcher([])
  )
  server = courier.Server(port=port)
  server.Bind('get_variables', training.get_variables)
  server.Start()
  while True:
    training.step(0, {})


def main() -> None:
  context = multiprocessing.get_context('spawn')
  port = portpicker.pick_unused_port()
  learner = context.Process(target=_learn, args=(port,), daemon=True)
  learner.start()
  client = variables.VariableClient(courier.Client(f'localhost:{port}'))
  client.wait(120)
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
    median_ms=statistics.median(delays),
    p90_ms=delays[int(0.9 * len(delays))],
    publications=len(delays),
    bytes=size,
  )


if __name__ == '__main__':
  main()
