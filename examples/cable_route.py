"""Cable routing by RLPD: on the real arm, or with --twin on a simulated one.

A classifier of images tells success, in training and on the arm; the simulation
knows better and only counts. docs/cable_route.md tells more.
"""

import sys

from absl import app

from serl.environments.sim import cable_route
from serl.programs import arm
from serl.teleop import cable_route as teleop

_TWIN = arm.Twin(
  cable_route.make,
  cable_route.STATE,
  teleop.CableRouteExpert,
  noise=0.05,
  attempts=(
    arm.Attempt({'noise': 0.1}),
    # Over the clip, on it and beside it, as close as a policy tries.
    arm.Attempt({'noise': 0.05, 'miss': 0.006}),
    arm.Attempt({'noise': 0.2, 'miss': 0.012}),
    arm.Attempt({'noise': 0.2, 'miss': 0.03}),
    arm.Attempt({'noise': 0.5}),
  ),
)
arm.define_flags('cable_route')


def main(_):
  sys.exit(
    arm.run(
      'runs/cable_route', _TWIN, stop_at_successes=20, updates_per_step=4.0
    )
  )


if __name__ == '__main__':
  app.run(main)
