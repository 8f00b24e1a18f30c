"""Peg insertion by RLPD: on the real arm, or with --twin on a simulated one.

The twin stands behind the same robot server as the real arm. docs/peg_insert.md
tells what to measure before the real one moves, and how to record on it.
"""

import dataclasses
import functools
import pathlib
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import drq
from serl.agents import rlpd
from serl.agents import sac
from serl.environments.franka import assembly
from serl.environments.franka import tasks
from serl.environments.sim import peg_insert as twin
from serl.programs import command
from serl.teleop import peg_insert as expert

_TASK = flags.DEFINE_string('task', 'peg_insert', 'Or the FILE.py of new_task.')
_TWIN = flags.DEFINE_bool('twin', False, 'Simulate the arm and its cameras.')
_IMAGES = flags.DEFINE_bool('images', False, 'See by the wrist cameras.')
_HTTP = flags.DEFINE_bool('http', True, 'Reach the twin by its robot server.')
_TOKEN = flags.DEFINE_string('token-file', None, "With the server's token.")
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', ['cpu', 'serl'], "For a few cores, or SERL's own recipe."
)
command.define_flags(demonstrations=True)


def main(_):
  run_dir = command.run_dir('runs/peg_insert')
  config = tasks.load(_TASK.value)
  if not _IMAGES.value:
    config = dataclasses.replace(config, cameras=())
  make_environment = functools.partial(_make_real, config, _TOKEN.value)
  if _TWIN.value:
    make = twin.make_vision if _IMAGES.value else twin.make
    scene = twin.Config(task=config, http=_HTTP.value)
    make_environment = functools.partial(make, config=scene)
  preset = _PRESET.value
  agent = sac.SACBuilder(getattr(sac, preset)())
  if _IMAGES.value:
    agent = drq.DrQBuilder(getattr(drq, preset)())
  run = programs.RunConfig(
    run_dir=run_dir,
    make_environment=make_environment,
    # One process has the arm: the others are told what it observes.
    environment_spec=None if _TWIN.value else assembly.make_spec(config),
    builder=rlpd.RLPDBuilder(agent),
    demonstrations=command.demonstrations(
      run_dir,
      make_environment,
      expert.PegInsertExpert if _TWIN.value else None,
      noise=0.01,
    ),
    random_steps=200,
    evaluate=_TWIN.value,
    **command.fields(
      stop_at_successes=20,
      updates_per_step=4.0,
      # The real arm keeps its own pace.
      steps_per_second=20 if _TWIN.value else 0,
    ),
  )
  sys.exit(command.run(run))


def _make_real(config, token_file, seed):
  token = token_file and pathlib.Path(token_file).read_text().strip()
  return assembly.make(config, token, seed)


if __name__ == '__main__':
  app.run(main)
