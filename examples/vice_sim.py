"""VICE on the simulated cube pick: the reward is learned from goal images."""

import contextlib
import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl import specs
from serl.agents import drq
from serl.agents import rlpd
from serl.agents import vice
from serl.agents.vice import goals
from serl.demos import recording
from serl.environments.sim import pick_cube
from serl.environments.sim import tasks
from serl.programs import command
from serl.teleop import scripted

_PRESETS = {
  'cpu': lambda: (vice.cpu(), drq.cpu()),
  'serl': lambda: (vice.VICEConfig(), drq.serl()),
}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
_GOALS = flags.DEFINE_integer(
  'goals', 10, 'Last steps of each demonstration that show the goal.'
)
_SIZE = flags.DEFINE_integer('image-size', 64, 'Pixels, height and width.')
command.define_flags(demonstrations=True)


def read_goals(demos, make_environment):
  """Returns the last steps of demonstrations; an actor needs none."""
  if not command.learns():
    return []
  with contextlib.closing(make_environment(0)) as environment:
    spec = specs.make_environment_spec(environment)
  try:
    shown = recording.load(demos, spec)
    return [goals.last_steps(episode, _GOALS.value) for episode in shown]
  except ValueError as error:
    sys.exit(str(error))


def main(_):
  run_dir = command.run_dir('runs/vice_sim')
  make_environment = functools.partial(
    tasks.make, 'pick_cube_vision', image_size=_SIZE.value
  )
  demos = command.demonstrations(
    run_dir, make_environment, scripted.PickCubeExpert, rewarded=False
  )
  config, agent = _PRESETS[_PRESET.value]()
  config = programs.RunConfig(
    run_dir=run_dir,
    random_steps=200,
    make_environment=make_environment,
    builder=vice.VICEBuilder(rlpd.RLPDBuilder(drq.DrQBuilder(agent)), config),
    demonstrations=demos,
    episode_steps=pick_cube.EPISODE_STEPS,
    goals=read_goals(demos, make_environment),
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
