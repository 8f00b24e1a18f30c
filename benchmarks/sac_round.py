"""Times a UTD-8 round of state SAC: batch 256, 10 critics, as SERL's recipe.

Usage: python benchmarks/sac_round.py

Products and rounds take turns, so that a busy machine slows both alike.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import policy_call
import report

from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from serl.testing import fakes


def seconds(fn) -> float:
  """Returns how long `fn()` takes until its result is there."""
  start = time.perf_counter()
  jax.block_until_ready(fn())
  return time.perf_counter() - start


def time_rounds(config: sac_config.SACConfig, repeats: int = 40) -> dict:
  """Returns the medians of rounds and of products timed between them."""
  spec = policy_call.state_spec()
  builder = sac_builder.SACBuilder(config)
  algorithm = builder.make_algorithm(builder.make_networks(spec))
  update = jax.jit(algorithm.update, donate_argnums=0)
  state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))
  batch = fakes.make_batch(spec, (config.updates_per_round, config.batch_size))
  matrix = jnp.ones((1024, 1024))
  product = jax.jit(lambda x: x @ x)

  def do_round():
    nonlocal state
    state, metrics = update(state, batch)
    return state, metrics

  compile_s = seconds(do_round)
  seconds(lambda: product(matrix))
  pairs = [
    (seconds(do_round), seconds(lambda: product(matrix)))
    for _ in range(repeats)
  ]
  rounds, products = zip(*pairs)
  return {
    'round_ms': 1e3 * statistics.median(rounds),
    'round_min_ms': 1e3 * min(rounds),
    'between_product_ms': 1e3 * statistics.median(products),
    'between_product_min_ms': 1e3 * min(products),
    'products': statistics.median(rounds) / statistics.median(products),
    'products_of_minima': min(rounds) / min(products),
    'compile_s': compile_s,
  }


if __name__ == '__main__':
  report.emit(
    'sac_round_utd8',
    **time_rounds(sac_config.serl()),
    reference_ms=310,
    reference_products=27,
  )
  report.emit('sac_round_utd8_cpu_preset', **time_rounds(sac_config.cpu()))
