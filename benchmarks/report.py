"""What every benchmark prints: one JSON line with the machine's state beside.

Figures of two machines, or of one machine on two days, compare only as
multiples of something that was timed in the same run: `product_ms`.
"""

from collections.abc import Callable
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

PACKAGES = (
  'jax',
  'jaxlib',
  'dm-haiku',
  'numpy',
  'mujoco',
  'dm-reverb',
  'dm-launchpad',
)


def median_ms(fn: Callable[[], Any], repeats: int) -> float:
  """Returns the median duration of `fn()` in milliseconds.

  Args:
    fn: called once to warm up and then `repeats` times. What it returns is
      waited for, so that JAX's asynchronous dispatch does not flatter it.
    repeats: how many calls are timed.
  """
  jax.block_until_ready(fn())
  durations = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(fn())
    durations.append(time.perf_counter() - start)
  return 1e3 * statistics.median(durations)


def product_ms(repeats: int = 30) -> float:
  """Returns the median time of a 1024x1024 float32 product in JAX, in ms."""
  matrix = jnp.ones((1024, 1024), jnp.float32)
  product = jax.jit(lambda x: x @ x)
  return median_ms(lambda: product(matrix), repeats)


def emit(name: str, **figures: Any) -> None:
  """Prints `figures` as one JSON line with load, versions and `product_ms`."""
  versions = {'python': platform.python_version()}
  for package in PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  # The benchmark may have timed the product itself, nearer to its figures.
  if 'product_ms' not in figures:
    figures['product_ms'] = product_ms()
  record = {
    'name': name,
    **figures,
    'device': jax.default_backend(),
    'load': os.getloadavg(),
    'cores': os.cpu_count(),
    'versions': versions,
  }
  sys.stdout.write(json.dumps(record) + '\n')
