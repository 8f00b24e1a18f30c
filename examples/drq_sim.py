"""DrQ on the simulated cube pick: two cameras, no demonstrations."""

import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import drq
from serl.environments.sim import tasks
from serl.programs import command

_PRESETS = {'cpu': drq.cpu, 'serl': drq.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
_SIZE = flags.DEFINE_integer('image-size', 64, 'Pixels, height and width.')
command.define_flags()


def main(_):
  config = programs.RunConfig(
    run_dir=command.run_dir('runs/drq_sim'),
    make_environment=functools.partial(
      tasks.make, 'pick_cube_vision', image_size=_SIZE.value
    ),
    builder=drq.DrQBuilder(_PRESETS[_PRESET.value]()),
    **command.fields(
      stop_at_successes=20,
      updates_per_step=1.5,
      steps_per_second=10,
      evaluation_period_s=120,
    ),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
