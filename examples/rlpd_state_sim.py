"""RLPD on the simulated cube pick: state observations, 20 demonstrations."""

import functools
import pathlib
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents.rlpd import builder as rlpd_builder
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from serl.demos import recording
from serl.environments.sim import tasks
from serl.programs import command
from serl.teleop import scripted

_PRESETS = {'cpu': sac_config.cpu, 'serl': sac_config.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
_DEMOS = flags.DEFINE_string(
  'demos', None, 'Folder of demonstrations; a scripted expert records some.'
)


command.define_flags()


def main(_):
  make_environment = functools.partial(tasks.make, 'pick_cube')
  run_dir = command.run_dir('runs/rlpd_state_sim')
  demos = _DEMOS.value
  if demos is None:
    demos = pathlib.Path(run_dir) / 'demonstrations'
    if not command.is_actor():
      expert = scripted.PickCubeExpert(noise=0.05)
      recording.record(make_environment, expert, 20, demos)
  sac = sac_builder.SACBuilder(_PRESETS[_PRESET.value]())
  config = programs.RunConfig(
    run_dir=run_dir,
    make_environment=make_environment,
    builder=rlpd_builder.RLPDBuilder(sac),
    demonstrations=demos,
    stop_at_successes=20,
    **command.fields(updates_per_step=1.6, steps_per_second=50),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
