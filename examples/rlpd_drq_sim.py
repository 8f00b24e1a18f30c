"""RLPD on the simulated cube pick: two cameras, 20 demonstrations."""

import dataclasses
import functools
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import drq
from serl.agents import rlpd
from serl.environments.sim import pick_cube
from serl.environments.sim import tasks
from serl.networks import encoders
from serl.programs import command
from serl.programs import reward
from serl.teleop import scripted

_PRESETS = {'cpu': drq.cpu, 'serl': drq.serl}
_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', list(_PRESETS), "For a few cores, or SERL's own recipe."
)
_SIZE = flags.DEFINE_integer('image-size', 64, 'Pixels, height and width.')
_ENCODER = flags.DEFINE_enum(
  'encoder', 'small', encoders.KINDS, 'What the images go through.'
)
_WEIGHTS = flags.DEFINE_string(
  'weights', None, "File of SERL's ResNet-10, for --encoder=frozen_resnet10."
)
reward.define_flags(records=False)
command.define_flags(demonstrations=True)


def make_environment(seed, image_size, classifier=None):
  environment = tasks.make('pick_cube_vision', seed, image_size=image_size)
  return reward.judge(environment, classifier) if classifier else environment


def main(_):
  run_dir = command.run_dir('runs/rlpd_drq_sim')
  classifier = reward.given()
  make = functools.partial(
    make_environment, image_size=_SIZE.value, classifier=classifier
  )
  agent = _PRESETS[_PRESET.value]()
  encoder = dataclasses.replace(
    agent.encoder, kind=_ENCODER.value, weights=_WEIGHTS.value
  )
  sac = agent.sac
  rejudge = None
  if classifier:
    rejudge = functools.partial(reward.judge_demonstrations, source=classifier)
    # Success gives 1 and ends the episode, nothing else counts: stay near what
    # was demonstrated, and tremble less.
    sac = dataclasses.replace(
      sac, return_bounds=(0.0, 1.0), cloning=0.3, target_entropy=-8.0
    )
  agent = dataclasses.replace(agent, encoder=encoder, sac=sac)
  config = programs.RunConfig(
    run_dir=run_dir,
    make_environment=make,
    builder=rlpd.RLPDBuilder(drq.DrQBuilder(agent)),
    demonstrations=command.demonstrations(
      run_dir, make, scripted.PickCubeExpert, rejudge=rejudge
    ),
    episode_steps=pick_cube.EPISODE_STEPS,
    random_steps=200,
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
