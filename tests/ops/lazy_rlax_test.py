"""Tests of lazy_rlax, each in an interpreter of its own."""

import importlib.util
import subprocess
import sys

import pytest

needs_tensorflow = pytest.mark.skipif(
  importlib.util.find_spec('tensorflow') is None,
  reason='the extra [launch] is not installed',
)


def _run(program):
  done = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()[-1]


_LOSS = """
import sys
import jax.numpy as jnp
from serl.ops import lazy_rlax as rlax
assert 'rlax' not in sys.modules
print(float(rlax.l2_loss(jnp.ones(()), jnp.array(3.0))))
"""


def test_rlax_comes_with_its_first_function_and_without_tensorflow():
  program = """
assert 'tensorflow' not in sys.modules
import importlib.util
if importlib.util.find_spec('tensorflow'):
  import tensorflow  # as before
  assert tensorflow.constant(1).numpy() == 1
"""
  assert _run(_LOSS + program) == '2.0'


@needs_tensorflow
def test_tensorflow_may_come_first_and_is_as_before():
  before = 'import sys, tensorflow\nbefore = dict(sys.modules)\n'
  after = """
import tensorflow
assert all(sys.modules[name] is module for name, module in before.items())
assert tensorflow.constant(1).numpy() == 1
"""
  assert _run(before + _LOSS + after) == '2.0'


@needs_tensorflow
def test_tensorflow_may_come_in_another_thread():
  program = """
import sys, threading, time
import jax.numpy as jnp
from serl.ops import lazy_rlax as rlax
failed = []
def load():
  try:
    import tensorflow
  except BaseException as error:
    failed.append(error)
thread = threading.Thread(target=load)
thread.start()
while 'tensorflow' not in sys.modules:
  time.sleep(0.001)
assert rlax.l2_loss(jnp.ones(()), 3.0) == 2
thread.join()
import tensorflow
print(failed, tensorflow.constant(1).numpy())
"""
  assert _run(program) == '[] 1'


def test_another_name_is_named_as_one_that_rlax_does_not_have():
  program = """
from serl.ops import lazy_rlax
try:
  lazy_rlax.no_such_loss
except AttributeError as error:
  print(error)
"""
  assert _run(program) == "module 'rlax' has no attribute 'no_such_loss'"


def test_a_missing_rlax_is_named_and_leaves_nothing_hidden():
  program = """
import sys
from serl.ops import lazy_rlax
sys.modules['distrax'] = None
try:
  lazy_rlax.l2_loss
except ImportError as error:
  print(error, 'tensorflow' in sys.modules)
"""
  assert _run(program).endswith('distrax halted; None in sys.modules False')


def test_threads_that_are_first_together_all_get_it():
  program = """
import threading
from serl.ops import lazy_rlax
found = []
threads = [
  threading.Thread(target=lambda: found.append(lazy_rlax.l2_loss))
  for _ in range(8)
]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(found), len(set(found)))
"""
  assert _run(program) == '8 1'
