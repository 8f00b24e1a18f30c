"""Behaviour cloning on the simulated cube pick, from demonstrations alone."""

import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import bc
from serl.environments.sim import tasks
from serl.networks import encoders
from serl.programs import command
from serl.teleop import scripted

_IMAGES = flags.DEFINE_bool('images', False, 'Learn from two cameras.')
_SIZE = flags.DEFINE_integer('image-size', 64, 'Pixels, height and width.')
command.define_flags(demonstrations=True)


def main(_):
  run_dir = command.run_dir('runs/bc_sim')
  make_environment = functools.partial(tasks.make, 'pick_cube')
  if _IMAGES.value:
    make_environment = functools.partial(
      tasks.make, 'pick_cube_vision', image_size=_SIZE.value
    )
  agent = bc.BCConfig(
    gripper=(-1,),
    batch_size=64 if _IMAGES.value else 256,
    encoder=encoders.EncoderConfig(
      features=(16, 32, 64),
      pooling='spatial_embeddings',
      scale_proprioception=True,
    ),
  )
  config = programs.RunConfig(
    run_dir=run_dir,
    make_environment=make_environment,
    builder=bc.BCBuilder(agent),
    demonstrations=command.demonstrations(
      run_dir, make_environment, scripted.PickCubeExpert
    ),
    evaluation_period_s=120 if _IMAGES.value else 15,
    **command.fields(max_learner_steps=6000),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
