"""Peg insertion by RLPD: on the real arm, or with --twin on a simulated one.

The twin stands behind the same robot server as the real arm. docs/peg_insert.md
tells what to measure before the real one moves, and how to record on it.
"""

import sys

from absl import app

from serl import programs  # noqa: F401 (checks the environment first)
from serl.environments.sim import insertion
from serl.programs import arm

arm.define_flags('peg_insert')


def main(_):
  sys.exit(arm.run_insertion('runs/peg_insert', insertion.PEG))


if __name__ == '__main__':
  app.run(main)
