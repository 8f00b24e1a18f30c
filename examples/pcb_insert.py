"""PCB insertion by RLPD: on the real arm, or with --twin on a simulated one.

docs/pcb_insert.md tells more.
"""

import sys

from absl import app

from serl import programs  # noqa: F401 (checks the environment first)
from serl.environments.sim import insertion
from serl.programs import arm

arm.define_flags('pcb_insert')


def main(_):
  sys.exit(arm.run_insertion('runs/pcb_insert', insertion.PCB))


if __name__ == '__main__':
  app.run(main)
