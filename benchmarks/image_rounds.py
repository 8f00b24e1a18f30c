"""Critic updates a second from images, replay and all, and the bytes drawn.

python benchmarks/image_rounds.py --encoder=resnet10 --size=128 --batch=256

RLPD around DrQ by SERL's recipe, the replay in the learner's process on its
device, as `--local` and `--replay=learner` have it. On a GPU it also tells how
busy `nvidia-smi` found it meanwhile.
"""

from collections.abc import Callable
import dataclasses
import shutil
import statistics
import subprocess
import time

from absl import app
from absl import flags
import jax
import numpy as np
import report
import vision

from serl import types
from serl.agents import drq
from serl.agents import rlpd
from serl.networks import encoders
from serl.replay import local as local_replay

_ENCODER = flags.DEFINE_enum(
  'encoder', 'small', ['small', 'resnet10'], 'What the images go through.'
)
_POOLING = flags.DEFINE_string('pooling', 'average', 'Behind the encoder.')
_SIZE = flags.DEFINE_integer('size', 128, 'Height and width of both images.')
_BATCH = flags.DEFINE_integer('batch', 256, 'Rows of the minibatch.')
_SECONDS = flags.DEFINE_float('seconds', 10, 'That rounds are timed for.')

_EPISODES, _LENGTH = 10, 100


def make_builder() -> rlpd.RLPDBuilder:
  """Returns the agent."""
  config = drq.serl()
  encoder = encoders.EncoderConfig(kind=_ENCODER.value, pooling=_POOLING.value)
  sac = dataclasses.replace(config.sac, batch_size=_BATCH.value)
  config = dataclasses.replace(config, sac=sac, encoder=encoder)
  return rlpd.RLPDBuilder(drq.DrQBuilder(config))


def make_replay(builder, spec) -> local_replay.LocalReplay:
  """Returns a replay of noise, both tables full of the same."""
  tables = builder.make_tables()
  replay = local_replay.LocalReplay(tables, spec, builder.batch_spec())
  steps = jax.tree.map(np.asarray, vision.make_batch(spec, (_LENGTH + 1,)))
  episode = types.Episode(
    observation=steps.observation,
    action=steps.action[:-1],
    reward=steps.reward[:-1],
    discount=steps.discount[:-1],
  )
  for _ in range(_EPISODES):
    replay.insert(episode, [table.name for table in tables])
  return replay


def busy_percent(run: Callable[[], None]) -> float | None:
  """Calls `run` and returns how busy the GPU was, None without one."""
  if shutil.which('nvidia-smi') is None or jax.default_backend() != 'gpu':
    run()
    return None
  command = 'nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader'
  with subprocess.Popen(
    [*command.split(), '--loop-ms=500'], stdout=subprocess.PIPE, text=True
  ) as process:
    try:
      run()
    finally:
      process.terminate()
    seen = [float(line.split()[0]) for line in process.stdout if line.strip()]
  return statistics.mean(seen) if seen else None


def main(_):
  spec = vision.vision_spec(_SIZE.value)
  builder = make_builder()
  replay = make_replay(builder, spec)
  algorithm = builder.make_algorithm(builder.make_networks(spec))
  update = jax.jit(algorithm.update, donate_argnums=0)
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))

  begin = time.perf_counter()
  batch = next(replay)
  state, metrics = jax.block_until_ready(update(state, batch))
  compile_s = time.perf_counter() - begin
  batch_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
  draw_ms = report.median_ms(lambda: next(replay), 10)

  rounds, seconds = 0, 0.0

  def run():
    nonlocal state, metrics, rounds, seconds
    start = time.perf_counter()
    while time.perf_counter() - start < _SECONDS.value:
      before = metrics
      state, metrics = update(state, next(replay))
      # One round is under way while the one before it is waited for, as the
      # learner does.
      jax.block_until_ready(before)
      rounds += 1
    jax.block_until_ready(metrics)
    seconds = time.perf_counter() - start

  busy = busy_percent(run)
  updates = builder.batch_spec().updates_per_round
  report.emit(
    'image_rounds',
    encoder=_ENCODER.value,
    pooling=_POOLING.value,
    size=_SIZE.value,
    batch=_BATCH.value,
    updates_per_round=updates,
    updates_per_s=rounds * updates / seconds,
    round_ms=1e3 * seconds / rounds,
    draw_ms=draw_ms,
    drawn_bytes_per_s=rounds * batch_bytes / seconds,
    gpu_busy_percent=busy,
    compile_s=compile_s,
    kind=jax.devices()[0].device_kind,
  )


if __name__ == '__main__':
  app.run(main)
