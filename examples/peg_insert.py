"""Peg insertion by RLPD: on the real arm, or with --twin on a simulated one.

The twin stands behind the same robot server as the real arm. docs/peg_insert.md
tells what to measure before the real one moves, and how to record on it.
"""

import sys

from absl import app

from serl.environments.sim import insertion
from serl.programs import arm
from serl.teleop import insertion as teleop_insertion

_TWIN = arm.Twin(
  insertion.make, insertion.PEG, teleop_insertion.InsertionExpert
)
arm.define_flags('peg_insert')


def main(_):
  sys.exit(
    arm.run(
      'runs/peg_insert',
      _TWIN,
      # 0.5 mm of play: what trembles more than this does not get in.
      {'target_entropy': -12.0},
      stop_at_successes=20,
      updates_per_step=4.0,
    )
  )


if __name__ == '__main__':
  app.run(main)
