"""RLPD on the simulated cube pick: state observations, 20 demonstrations."""

import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import rlpd
from serl.agents import sac
from serl.environments.sim import pick_cube
from serl.programs import command
from serl.teleop import scripted

_PRESETS = {'cpu': sac.cpu, 'serl': sac.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
command.define_flags(demonstrations=True)


def main(_):
  run_dir = command.run_dir('runs/rlpd_state_sim')
  agent = sac.SACBuilder(_PRESETS[_PRESET.value]())
  config = programs.RunConfig(
    run_dir=run_dir,
    make_environment=pick_cube.make,
    builder=rlpd.RLPDBuilder(agent),
    demonstrations=command.demonstrations(
      run_dir, pick_cube.make, scripted.PickCubeExpert
    ),
    episode_steps=pick_cube.EPISODE_STEPS,
    **command.fields(
      stop_at_successes=20, updates_per_step=1.6, steps_per_second=50
    ),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
