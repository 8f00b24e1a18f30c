"""Peg insertion by RLPD: on the real arm, or with --twin on a simulated one.

The twin stands behind the same robot server as the real arm. docs/peg_insert.md
tells what to measure before the real one moves.
"""

import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import drq
from serl.agents import rlpd
from serl.agents import sac
from serl.environments.franka import assembly
from serl.environments.franka.tasks import peg_insert as task
from serl.environments.sim import peg_insert as twin
from serl.programs import command
from serl.teleop import peg_insert as expert

_TWIN = flags.DEFINE_bool('twin', False, 'Simulate the arm and its cameras.')
_IMAGES = flags.DEFINE_bool('images', False, 'See by the wrist cameras.')
_HTTP = flags.DEFINE_bool('http', True, 'Reach the twin by its robot server.')
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', ['cpu', 'serl'], "For a few cores, or SERL's own recipe."
)
command.define_flags(demonstrations=True)


def main(_):
  run_dir = command.run_dir('runs/peg_insert')
  config = task.VISION if _IMAGES.value else task.STATE
  make_environment = functools.partial(_make_real, config)
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
    builder=rlpd.RLPDBuilder(agent),
    demonstrations=command.demonstrations(
      run_dir, make_environment, expert.PegInsertExpert, noise=0.01
    ),
    random_steps=200,
    evaluate=_TWIN.value,
    **command.fields(
      stop_at_successes=20, updates_per_step=4.0, steps_per_second=20
    ),
  )
  sys.exit(command.run(run))


def _make_real(config, seed):
  return assembly.make(config, seed=seed)


if __name__ == '__main__':
  app.run(main)
