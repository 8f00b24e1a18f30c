"""SAC on the simulated cube pick, from state and from scratch."""

import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import sac
from serl.environments.sim import pick_cube
from serl.programs import command

_PRESETS = {'cpu': sac.cpu, 'serl': sac.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
command.define_flags()


def main(_):
  config = programs.RunConfig(
    run_dir=command.run_dir('runs/sac_state_sim'),
    make_environment=pick_cube.make,
    builder=sac.SACBuilder(_PRESETS[_PRESET.value]()),
    **command.fields(
      stop_at_successes=20, updates_per_step=1.0, steps_per_second=100
    ),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
