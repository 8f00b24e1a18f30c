"""PCB insertion by RLPD: on the real arm, or with --twin on a simulated one.

docs/pcb_insert.md tells more.
"""

import sys

from absl import app

from serl.environments.sim import insertion
from serl.programs import arm
from serl.teleop import insertion as teleop_insertion

arm.define_flags('pcb_insert')


def main(_):
  expert = teleop_insertion.InsertionExpert
  twin = arm.Twin(insertion.make, insertion.PCB, expert)
  sys.exit(
    arm.run(
      'runs/pcb_insert',
      twin,
      # 0.2 mm of play: what trembles more than this does not get in.
      {'target_entropy': -12.0},
      stop_at_successes=20,
      updates_per_step=4.0,
    )
  )


if __name__ == '__main__':
  app.run(main)
