"""SAC on the simulated cube pick, from state and from scratch."""

import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from serl.environments.sim import tasks
from serl.programs import command

_PRESETS = {'cpu': sac_config.cpu, 'serl': sac_config.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)


command.define_flags()


def main(_):
  config = programs.RunConfig(
    run_dir=command.run_dir('runs/sac_state_sim'),
    make_environment=functools.partial(tasks.make, 'pick_cube'),
    builder=sac_builder.SACBuilder(_PRESETS[_PRESET.value]()),
    stop_at_successes=20,
    **command.fields(updates_per_step=1.0, steps_per_second=100),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
