"""RLPD on the simulated cube pick: state observations, 20 demonstrations."""

import pathlib
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import rlpd
from serl.agents import sac
from serl.demos import recording
from serl.environments.sim import pick_cube
from serl.programs import command
from serl.teleop import scripted

_PRESETS = {'cpu': sac.cpu, 'serl': sac.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
_DEMOS = flags.DEFINE_string(
  'demos', None, 'Folder of demonstrations; a scripted expert records some.'
)
command.define_flags()


def main(_):
  run_dir = command.run_dir('runs/rlpd_state_sim')
  demos = _DEMOS.value
  if demos is None:
    demos = pathlib.Path(run_dir) / 'demonstrations'
    if not command.is_actor():
      expert = scripted.PickCubeExpert(noise=0.05)
      recording.record(pick_cube.make, expert, 20, demos)
  agent = sac.SACBuilder(_PRESETS[_PRESET.value]())
  config = programs.RunConfig(
    run_dir=run_dir,
    make_environment=pick_cube.make,
    builder=rlpd.RLPDBuilder(agent),
    demonstrations=demos,
    stop_at_successes=20,
    **command.fields(updates_per_step=1.6, steps_per_second=50),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
