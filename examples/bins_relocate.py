"""Object relocation by RLPD, there and back: the real arm, or --twin.

Two policies, each with its replay and its learner, take turns on one arm: where
one has succeeded the other begins, so that nobody resets anything. Classifiers
of the front camera tell success. With --agent=bc both clone demonstrations
instead. docs/bins_relocate.md tells more.
"""

import dataclasses
import pathlib
import sys

from absl import app

from serl import programs
from serl.agents import hybrid
from serl.agents import rlpd
from serl.environments.sim import bins_relocate
from serl.programs import arm
from serl.programs import command
from serl.teleop import bins_relocate as teleop

_TWIN = arm.Twin(
  bins_relocate.make,
  bins_relocate.FORWARD,
  teleop.BinsRelocateExpert,
  noise=0.1,
  attempts=(
    arm.Attempt({'noise': 0.1}),
    # A cube that is held where it belongs is not there yet.
    arm.Attempt({'lets_go': False}),
    # Wherever the cube comes to lie, and wherever the arm is.
    *2 * (arm.Attempt({'wanders': True}, {'anywhere': True}),),
  ),
)
arm.define_flags('bins_forward', 'bins_backward')


def main(_):
  run_dir = pathlib.Path(command.run_dir('runs/bins_relocate'))
  runs = {}
  for name, task in zip(('forward', 'backward'), arm.load(), strict=True):
    sac = arm.agent(target_entropy=-12.0, cloning=0.3, return_bounds=(0.0, 1.0))
    # What it costs to switch the gripper is its own critic's, not the reward's.
    gripper = hybrid.HybridConfig(
      penalty=task.gripper_penalty,
      margin=0.1,
      gripper_range=task.gripper_range,
    )
    agent = rlpd.RLPDBuilder(hybrid.HybridBuilder(sac, gripper))
    fields = arm.fields(
      run_dir / name,
      dataclasses.replace(task, gripper_penalty=0.0),
      _TWIN,
      part=name,
      # Two policies are swept.
      evaluation_period_s=120.0,
    )
    runs[name] = programs.RunConfig(builder=arm.chosen(agent, task), **fields)
  both = programs.AlternatingRuns(
    run_dir=run_dir,
    runs=runs,
    make_environment=arm.alternate(runs, bins_relocate.make_both),
  )
  sys.exit(command.run(both))


if __name__ == '__main__':
  app.run(main)
