"""Renderers in many processes at once, again and again."""

import subprocess
import sys

import pytest

from serl.environments.sim import opengl
from serl.environments.sim import pick_cube

_PROCESSES, _TIMES = 8, 20
_PATIENCE_S = 600
_PROGRAM = """
import functools

import numpy as np

from serl.environments.sim import tasks
from serl.programs import watchdog

make = functools.partial(tasks.make, 'pick_cube_vision', image_size=64)
with watchdog.Watchdog('renderer', watchdog.Limits()) as guard:
  environment = guard.make(make, 0)
  environment.reset()
  for _ in range(5):
    environment.step(np.zeros(environment.action_spec().shape, np.float32))
  print(environment.render(height=64, width=64).std() > 0)
  environment.close()
"""


@pytest.mark.long
def test_renderers_of_many_processes_all_return():
  environment = pick_cube.make(seed=0)
  environment.reset()
  try:
    environment.render(height=16, width=16)
  except opengl.RenderingUnavailableError as error:
    pytest.skip(f'no OpenGL: {error}')
  finally:
    environment.close()
  for _ in range(_TIMES):
    processes = [
      subprocess.Popen(
        [sys.executable, '-c', _PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for _ in range(_PROCESSES)
    ]
    try:
      for process in processes:
        stdout, stderr = process.communicate(timeout=_PATIENCE_S)
        # One that hangs is named by its watchdog.
        assert process.returncode == 0, stderr
        assert stdout.split() == ['True']
    finally:
      for process in processes:
        process.kill()
        process.wait()
