"""Cable routing with the numbers that SERL publishes for it.

Luo et al. 2024, SERL, arXiv 2401.16013. The gripper holds a cable and stays
closed; the target pose is that of the tool with the cable in its clip. No pose
tells whether it is in there, so there is no threshold: a classifier of the
cameras' pictures is the reward. `target`, `reset` and the cameras' serials are
of one laboratory: measure yours and write them with
`python -m serl.tools.new_task`.
"""

import dataclasses
import math

from serl.environments.franka import config

_TARGET = (0.4606, -0.0244, 0.0263, 3.1331, 0.0182, 1.5825)
_POSE_LOW, _POSE_HIGH = config.around(
  _TARGET,
  low=(-0.1, -0.1, -0.001, -0.01, -0.01, -math.pi / 6),
  high=(0.1, 0.1, 0.1, 0.01, 0.01, math.pi / 6),
)

# Without cameras.
STATE = config.Config(
  target=_TARGET,
  reset=(*_TARGET[:2], _TARGET[2] + 0.1, *_TARGET[3:]),
  pose_low=_POSE_LOW,
  pose_high=_POSE_HIGH,
  action_scale=(0.05, 0.3, 1.0),
  random_xy=0.1,
  random_yaw=math.pi / 6,
  lift=0.05,
  compliance=config.Compliance(
    **config.clips((0.005, 0.005, 0.005), (0.05, 0.05, 0.02))
  ),
)
# With two on the wrist.
VISION = dataclasses.replace(
  STATE,
  cameras=config.wrist_cameras(
    ('000000000001', '000000000002'), columns=(80, 560)
  ),
)
