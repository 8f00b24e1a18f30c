"""Behaviour cloning on a simulated task, from demonstrations alone."""

import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl import specs
from serl.agents import bc
from serl.environments.sim import tasks
from serl.programs import command
from serl.teleop import scripted

_TASKS = [name for name in tasks.TASKS if name not in tasks.VISION]
_TASK = flags.DEFINE_enum('task', 'pick_cube', _TASKS, 'In simulation.')
_IMAGES = flags.DEFINE_bool('images', False, 'Learn from cameras.')
_SIZE = flags.DEFINE_integer('image-size', 64, 'Pixels, height and width.')
command.define_flags(demonstrations=True)


def main(_):
  run_dir = command.run_dir('runs/bc_sim')
  task = _TASK.value
  make_environment = functools.partial(tasks.make, task)
  if _IMAGES.value:
    task = f'{task}_vision'
    make_environment = functools.partial(
      tasks.make, task, image_size=_SIZE.value
    )
  environment = make_environment(0)
  spec = specs.make_environment_spec(environment)
  environment.close()
  agent = bc.cpu(spec.actions.shape[0], _IMAGES.value)
  config = programs.RunConfig(
    run_dir=run_dir,
    make_environment=make_environment,
    environment_spec=spec,
    builder=bc.BCBuilder(agent),
    demonstrations=command.demonstrations(
      run_dir,
      make_environment,
      scripted.EXPERTS[task],
      scripted.NOISES[task],
      rewarded=False,
    ),
    **command.fields(
      max_learner_steps=6000, evaluation_period_s=120 if _IMAGES.value else 15
    ),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
