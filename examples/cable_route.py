"""Cable routing by RLPD: on the real arm, or with --twin on a simulated one.

A classifier of images tells success, in training and on the arm; the simulation
knows better and only counts. docs/cable_route.md tells more.
"""

import sys

from absl import app

from serl import programs  # noqa: F401 (checks the environment first)
from serl.environments.sim import cable_route
from serl.programs import arm
from serl.teleop import cable_route as teleop

# What the classifier learns from.
_ATTEMPTS = (
  arm.Attempt({'noise': 0.1}),
  # Over the clip, on it and beside it, as close as a policy tries.
  arm.Attempt({'noise': 0.05, 'miss': 0.006}),
  arm.Attempt({'noise': 0.2, 'miss': 0.012}),
  arm.Attempt({'noise': 0.2, 'miss': 0.03}),
  arm.Attempt({'noise': 0.5}),
)
arm.define_flags('cable_route')


def main(_):
  scene, expert = cable_route.STATE, teleop.CableRouteExpert
  twin = arm.Twin(cable_route.make, scene, expert, 0.05, _ATTEMPTS)
  sys.exit(arm.run('runs/cable_route', twin))


if __name__ == '__main__':
  app.run(main)
